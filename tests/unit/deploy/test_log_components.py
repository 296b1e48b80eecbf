"""The parts that a log pipeline is put together from: rendered as an overlay would, and held against each other."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from iris_install.kubectl import Kubectl
from support.deploy.manifests import Manifest, containers, find_manifest, workloads
from support.deploy.pipelines import LABELS, LOGS, PIPELINES, pipeline

READERS = ("alloy", "promtail", "otelcol")
STORES = ("loki", "victorialogs")


@pytest.fixture(scope="module", params=PIPELINES.values(), ids=list(PIPELINES))
def objects(kubectl: Kubectl, request: pytest.FixtureRequest) -> list[Manifest]:
    return pipeline(kubectl, *request.param)


def loaded(path: str) -> Any:
    return yaml.safe_load((LOGS / path).read_text())


def promtail_stages(kind: str) -> Iterator[Any]:
    for stage in loaded("promtail/promtail.yaml")["scrape_configs"][0]["pipeline_stages"]:
        if kind in stage:
            yield stage[kind]


def alloy_block(name: str) -> str:
    """The text between the braces of the block's last appearance."""
    text = (LOGS / "alloy/config.alloy").read_text()
    return text.rpartition(f"\n\t{name} {{\n")[2].partition("\n\t}\n")[0]


def test_labels_are_the_same_five_from_every_collector_and_in_every_store() -> None:
    collector, loki = loaded("otelcol/collector.yaml"), loaded("loki/loki.yaml")
    (kept_by_promtail,) = promtail_stages("labelallow")
    (indexed,) = loki["limits_config"]["otlp_config"]["resource_attributes"]["attributes_config"]

    assert collector["exporters"]["otlp_http"]["headers"]["VL-Stream-Fields"].split(",") == LABELS
    assert indexed == {"action": "index_label", "attributes": LABELS}
    assert kept_by_promtail == LABELS
    assert re.findall(r'"(\w+)"', alloy_block("stage.label_keep")) == LABELS


def test_loki_refuses_a_sixth_label_and_makes_none_by_itself() -> None:
    limits = loaded("loki/loki.yaml")["limits_config"]
    assert limits["max_label_names_per_series"] == len(LABELS)
    assert limits["otlp_config"]["resource_attributes"]["ignore_defaults"] is True
    assert (limits["discover_service_name"], limits["discover_log_levels"]) == ([], False)


def test_promtail_and_alloy_give_the_same_fields() -> None:
    (fields,) = promtail_stages("structured_metadata")
    in_alloy = re.findall(r"^\s+(\w+) += ", alloy_block("stage.structured_metadata").partition("{")[2], re.MULTILINE)
    assert in_alloy == list(fields)
    assert {"request_id", "revision", "features", "predictions", "stack", "status", "route"} <= set(fields)


def test_every_collector_uses_the_same_level_names() -> None:
    spellings = re.compile(r'"([a-z0-9.*#-]+)": "([a-z]+)"')
    operators = loaded("otelcol/collector.yaml")["receivers"]["file_log"]["operators"]
    (mapped,) = (operator["value"] for operator in operators if operator.get("field") == "resource.level")
    wanted = dict(spellings.findall(mapped))
    (template,) = promtail_stages("template")
    alloy = alloy_block("stage.template").replace('\\"', '"')

    assert len(wanted) > len(set(wanted.values())) > 1
    for text in (template["template"], alloy):
        found: dict[str, str] = {}
        for condition, level in re.findall(r"if ((?:or )?\(?eq.*?)}}([a-z]+)", text):
            found |= dict.fromkeys(re.findall(r'eq \$l "([^"]+)"', condition), level)
        assert found == wanted


def test_what_is_older_than_the_retention_is_deleted() -> None:
    loki = loaded("loki/loki.yaml")
    assert loki["compactor"]["retention_enabled"] is True
    assert loki["limits_config"]["retention_period"] == "${LOKI_RETENTION:-336h}"
    (period,) = loki["schema_config"]["configs"]
    assert period["object_store"] == loki["compactor"]["delete_request_store"] == "${LOKI_STORE:-filesystem}"


def test_only_an_address_tells_the_collector_which_store_it_sends_to(kubectl: Kubectl) -> None:
    to_loki = find_manifest(pipeline(kubectl, "loki", "otelcol"), "DaemonSet", "otelcol")
    to_victorialogs = find_manifest(pipeline(kubectl, "otelcol", "victorialogs"), "DaemonSet", "otelcol")
    endpoints = []
    for daemonset in (to_loki, to_victorialogs):
        (container,) = daemonset["spec"]["template"]["spec"]["containers"]
        endpoint = container["env"].pop(0)
        assert endpoint["name"] == "LOGS_ENDPOINT"
        endpoints.append(endpoint["value"])

    assert to_loki == to_victorialogs
    assert endpoints == [
        "http://loki.iris-logs.svc:3100/otlp",
        "http://victorialogs.iris-logs.svc:9428/insert/opentelemetry",
    ]


def test_everything_is_in_the_namespace_that_may_mount_the_nodes_files(objects: list[Manifest]) -> None:
    namespace = find_manifest(objects, "Namespace", "iris-logs")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    for item in objects:
        if item["kind"] not in ("Namespace", "ClusterRole", "ClusterRoleBinding"):
            assert item["metadata"]["namespace"] == "iris-logs", item["metadata"]["name"]


def test_only_file_readers_are_root_and_mount_the_node(objects: list[Manifest]) -> None:
    for name, pod in workloads(objects):
        folders = {v["name"]: v["hostPath"]["path"] for v in pod["volumes"] if "hostPath" in v}
        if name in READERS:
            assert pod["securityContext"]["runAsUser"] == 0
            assert folders == {"pod-logs": "/var/log/pods", "state": f"/var/lib/iris-logs/{name}"}
            (container,) = pod["containers"]
            (mount,) = (m for m in container["volumeMounts"] if m["name"] == "pod-logs")
            assert mount["readOnly"] is True
        else:
            assert name in STORES
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert folders == {}


def test_nothing_has_a_privilege_or_a_writable_root(objects: list[Manifest]) -> None:
    for name, pod in workloads(objects):
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name
    for name, container in containers(objects):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name


def test_each_container_is_bounded_and_probed_and_has_a_fixed_tag(objects: list[Manifest]) -> None:
    for name, container in containers(objects):
        for bound in ("requests", "limits"):
            assert {"cpu", "memory"} <= container["resources"][bound].keys(), name
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys(), name
        _, separator, tag = container["image"].rpartition(":")
        assert separator, name
        assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag), f"{name}: {container['image']}"


def test_cluster_permissions_are_to_read_pods(objects: list[Manifest]) -> None:
    roles = [item for item in objects if item["kind"] == "ClusterRole"]
    assert len(roles) == 1
    assert roles[0]["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
    assert not [item for item in objects if item["kind"] == "Role"]


def test_nothing_is_reachable_that_no_policy_opens(objects: list[Manifest]) -> None:
    closed = find_manifest(objects, "NetworkPolicy", "deny-all")["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, _ in workloads(objects):
        policy = find_manifest(objects, "NetworkPolicy", name)["spec"]
        assert policy["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": name}}
        assert all(rule["from"] and rule["ports"] for rule in policy["ingress"])
        assert all(rule["to"] and rule["ports"] for rule in policy.get("egress", []))
        assert ("egress" in policy) == (name in READERS)


def test_grafana_queries_the_installed_loki(kubectl: Kubectl) -> None:
    (source,) = loaded("../grafana/datasources/loki.yaml")["datasources"]
    objects = pipeline(kubectl, "loki", "alloy")
    (port,) = find_manifest(objects, "Service", "loki")["spec"]["ports"]
    assert source["url"] == f"http://loki.iris-logs.svc:{port['port']}"
    (alloy,) = (pod["containers"][0] for name, pod in workloads(objects) if name == "alloy")
    assert alloy["env"][0]["value"].startswith(f"{source['url']}/")


def test_the_collector_waits_and_never_drops_what_it_read() -> None:
    collector = loaded("otelcol/collector.yaml")
    receiver, exporter = collector["receivers"]["file_log"], collector["exporters"]["otlp_http"]
    assert receiver["storage"] == exporter["sending_queue"]["storage"] == "file_storage"
    assert receiver["retry_on_failure"] == {"enabled": True, "max_elapsed_time": 0}
    assert exporter["retry_on_failure"]["max_elapsed_time"] == 0
    assert exporter["sending_queue"]["block_on_overflow"] is True
    assert collector["service"]["pipelines"]["logs"]["processors"][0] == "memory_limiter"
    daemonset = next(yaml.safe_load_all((LOGS / "otelcol/otelcol.yaml").read_text()))
    (container,) = daemonset["spec"]["template"]["spec"]["containers"]
    assert "--feature-gates=stanza.synchronousLogEmitter" in container["args"]
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Mi"))
    assert collector["processors"]["memory_limiter"]["limit_mib"] < limit * 0.75
