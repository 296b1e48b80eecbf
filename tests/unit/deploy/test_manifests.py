import re
from pathlib import Path

import yaml

from iris_install import credentials
from iris_local import components
from support.deploy.manifests import Manifest, containers, find_manifest, workloads

ROOT = Path(__file__).resolve().parents[3]
NAMESPACES = ("iris-system", "iris")
# Of what reads the node's log files: the one place where a pod may be root, and whose rights reach all namespaces.
LOGS = "iris-logs"
Objects = list[Manifest]


def test_namespaces_enforce_the_restricted_pod_security_standard(rendered: Objects) -> None:
    for namespace in NAMESPACES:
        labels = find_manifest(rendered, "Namespace", namespace)["metadata"]["labels"]
        for mode in ("enforce", "audit", "warn"):
            assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
            assert re.fullmatch(r"v1\.\d+", labels[f"pod-security.kubernetes.io/{mode}-version"])


def test_no_update_takes_the_old_pod_away_before_the_new_one_serves_unless_there_may_be_only_one(
    rendered: Objects,
) -> None:
    by_strategy: dict[str, set[str]] = {}
    for item in rendered:
        if item["kind"] == "Deployment":
            by_strategy.setdefault(item["spec"]["strategy"]["type"], set()).add(item["metadata"]["name"])
            if item["spec"]["strategy"]["type"] == "RollingUpdate":
                assert item["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    # One process on the storage of metrics, dashboards and logs; one that tells people, once.
    assert by_strategy["Recreate"] - {"grafana", "victorialogs"} == {"prometheus", "alertmanager"}
    assert find_manifest(rendered, "StatefulSet", "postgres")["spec"]["updateStrategy"] == {"type": "RollingUpdate"}


def test_everything_lives_in_a_namespace_of_ours_or_defines_one_or_the_resource(rendered: Objects) -> None:
    strays = [
        (item["kind"], item["metadata"]["name"])
        for item in rendered
        if item["kind"] not in ("Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding")
        and not item["kind"].startswith("ValidatingAdmissionPolicy")
        and item["metadata"].get("namespace") not in (*NAMESPACES, LOGS)
    ]
    assert strays == []


def test_pods_run_as_a_numeric_user_that_is_not_root(rendered: Objects) -> None:
    for name, pod in workloads(rendered):
        context = pod["securityContext"]
        if name == "otelcol":
            continue  # see test_log_components.py
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] > 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name


def test_containers_have_a_read_only_root_and_no_privileges(rendered: Objects) -> None:
    for name, container in containers(rendered):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name


def test_containers_ask_for_cpu_and_memory_and_are_limited(rendered: Objects) -> None:
    for name, container in containers(rendered):
        for bound in ("requests", "limits"):
            assert {"cpu", "memory"} <= container["resources"][bound].keys(), name


def test_containers_have_all_three_probes(rendered: Objects) -> None:
    for name, container in containers(rendered):
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys(), name


def test_images_have_a_fixed_tag(rendered: Objects) -> None:
    for name, container in containers(rendered):
        _, separator, tag = container["image"].rpartition(":")
        assert (separator, "/" in tag, tag == "latest") == (":", False, False), f"{name}: {container['image']}"


def test_scratch_space_is_bounded(rendered: Objects) -> None:
    for name, pod in workloads(rendered):
        for volume in pod.get("volumes", []):
            if "emptyDir" in volume:
                assert "sizeLimit" in volume["emptyDir"], f"{name}: {volume['name']}"


def test_only_clients_of_the_api_server_get_a_token(rendered: Objects) -> None:
    tokens = {name for name, pod in workloads(rendered) if pod.get("automountServiceAccountToken", True)}
    assert tokens - {"otelcol"} == {"iris-operator", "prometheus"}


def test_services_select_a_workload(rendered: Objects) -> None:
    pods = [
        (item["metadata"]["namespace"], item["spec"]["template"]["metadata"]["labels"].items())
        for item in rendered
        if item["kind"] in ("Deployment", "StatefulSet")
    ]
    for item in rendered:
        if item["kind"] == "Service":
            selector = item["spec"]["selector"].items()
            assert [n for n, labels in pods if n == item["metadata"]["namespace"] and selector <= labels], item


def test_outside_its_namespaces_the_operator_may_take_off_its_finalizer_and_nothing_else(rendered: Objects) -> None:
    """ADR 64. `patch` on a release does not include its status, nor any object that serves."""
    bound = [
        (subject["name"], item["roleRef"]["name"])
        for item in rendered
        if item["kind"] == "ClusterRoleBinding"
        for subject in item["subjects"]
    ]
    assert [role for name, role in bound if name == "iris-operator"] == ["iris-operator-finalizer"]
    assert {name for name, _ in bound} <= {"iris-operator", "prometheus", "otelcol"}
    assert find_manifest(rendered, "ClusterRole", "iris-operator-finalizer")["rules"] == [
        {
            "apiGroups": ["iris.mlrelease.dev"],
            "resources": ["irismodelreleases"],
            "verbs": ["get", "list", "watch", "patch"],
        },
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
    ]


def test_the_only_other_right_to_what_is_in_no_namespace_is_to_read_the_metrics_of_nodes(rendered: Objects) -> None:
    rules = {item["metadata"]["name"]: item["rules"] for item in rendered if item["kind"] == "ClusterRole"}
    rules.pop("iris-operator-finalizer")
    # What the collector of logs may read of pods: see test_log_components.py.
    rules.pop("iris-logs-otelcol", None)
    assert list(rules.values()) == [[{"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]}]]


def test_no_right_is_given_by_wildcard_and_none_to_secrets(rendered: Objects) -> None:
    for item in rendered:
        for rule in item.get("rules", []) if item["kind"] == "Role" else []:
            words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert not words & {"*", "secrets"}, item["metadata"]


def test_the_operator_may_not_change_what_a_release_asks_for(rendered: Objects) -> None:
    role = find_manifest(rendered, "Role", "iris-operator", "iris")
    (rule,) = (rule for rule in role["rules"] if rule["resources"] == ["irismodelreleases"])
    assert sorted(rule["verbs"]) == ["get", "list", "patch", "watch"]


def test_a_second_operator_waits_for_the_lease_of_the_first_and_may_not_write(rendered: Objects) -> None:
    spec = find_manifest(rendered, "Deployment", "iris-operator")["spec"]
    assert spec["replicas"] == 2
    container = spec["template"]["spec"]["containers"][0]
    fields = {
        each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] for each in container["env"] if "valueFrom" in each
    }
    # What the API server knows the pod by, and with it the admission policy.
    assert fields == {
        "IRIS_POD_NAMESPACE": "metadata.namespace",
        "IRIS_POD_NAME": "metadata.name",
        "IRIS_POD_UID": "metadata.uid",
    }
    assert "spec" not in find_manifest(rendered, "Lease", "iris-operator"), (
        "an apply would take the lease from its holder"
    )
    policy = find_manifest(rendered, "ValidatingAdmissionPolicy", "iris-operator-leader")["spec"]
    account = f"system:serviceaccount:iris-system:{spec['template']['spec']['serviceAccountName']}"
    assert [f"request.userInfo.username == '{account}'"] == [each["expression"] for each in policy["matchConditions"]]
    bindings = [item for item in rendered if item["kind"] == "ValidatingAdmissionPolicyBinding"]
    leases = [item["spec"]["paramRef"] for item in bindings if item["spec"]["policyName"] == "iris-operator-leader"]
    where = {"name": "iris-operator", "namespace": "iris-system", "parameterNotFoundAction": "Allow"}
    assert leases == [where, where]


def test_the_operators_pods_are_asked_different_questions_about_life_and_readiness(rendered: Objects) -> None:
    (container,) = find_manifest(rendered, "Deployment", "iris-operator")["spec"]["template"]["spec"]["containers"]
    paths = {probe: container[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")}
    assert paths == {"readinessProbe": "/readyz", "livenessProbe": "/healthz"}
    budget = find_manifest(rendered, "PodDisruptionBudget", "iris-operator")["spec"]
    assert budget["maxUnavailable"] == 1


def test_secrets_are_referred_to_and_never_written_down(rendered: Objects) -> None:
    assert not [item["metadata"]["name"] for item in rendered if item["kind"] == "Secret"]
    for name, container in containers(rendered):
        for variable in container.get("env", []):
            secret = re.search("PASSWORD|TOKEN|SECRET", variable["name"])
            assert "valueFrom" in variable if secret else "@" not in variable.get("value", ""), name


def test_the_stores_read_the_secrets_that_the_installer_creates(rendered: Objects) -> None:
    read = {
        source["secretRef"]["name"] for _, container in containers(rendered) for source in container.get("envFrom", [])
    }
    assert read == {credentials.POSTGRES, credentials.REDIS}


def test_the_cache_evicts_before_it_reaches_its_memory_limit(rendered: Objects) -> None:
    (config,) = (item["data"]["redis.conf"] for item in rendered if "redis.conf" in item.get("data", {}))
    settings = dict(line.split(" ", 1) for line in config.splitlines() if line and not line.startswith("#"))
    (limit,) = (c["resources"]["limits"]["memory"] for name, c in containers(rendered) if name == "redis/redis")
    assert settings["maxmemory-policy"] == "allkeys-lru"
    assert int(settings["maxmemory"].removesuffix("mb")) <= int(limit.removesuffix("Mi")) * 0.75


def test_targets_are_labelled_with_what_analysis_compares(rendered: Objects) -> None:
    (text,) = (item["data"]["inference.yml"] for item in rendered if "inference.yml" in item.get("data", {}))
    (job,) = yaml.safe_load(text)["scrape_configs"]
    sources = {rule["target_label"]: rule["source_labels"] for rule in job["relabel_configs"] if "target_label" in rule}
    assert sources == {
        "namespace": ["__meta_kubernetes_namespace"],
        "pod": ["__meta_kubernetes_pod_name"],
        "release": ["__meta_kubernetes_pod_label_iris_mlrelease_dev_release"],
        "revision": ["__meta_kubernetes_pod_label_iris_mlrelease_dev_revision"],
        "version": ["__meta_kubernetes_pod_label_iris_mlrelease_dev_version"],
        "arm": ["__meta_kubernetes_pod_label_iris_mlrelease_dev_arm"],
    }


def test_production_keeps_its_database_on_a_volume() -> None:
    objects = list(yaml.safe_load_all((ROOT / "deploy/base/stores/postgres.yaml").read_text()))
    claims = find_manifest(objects, "StatefulSet", "postgres")["spec"]["volumeClaimTemplates"]
    assert [claim["metadata"]["name"] for claim in claims] == ["data"]


def test_the_local_overlay_names_the_programs_that_are_built() -> None:
    overlay = yaml.safe_load((ROOT / "deploy/overlays/local/kustomization.yaml").read_text())
    tags = {image["newName"]: image.get("newTag") for image in overlay["images"]}
    for name in ("prometheus", "alertmanager"):
        assert tags[f"localhost/{name}"] == f"v{components.get(name).version}"
