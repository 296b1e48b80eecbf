"""The operator's objects on a real API server: what it rejects, what it defaults, and which fields of others stay."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.adapters.kubernetes.objects import ReleaseObjects
from iris_operator.adapters.kubernetes.releases import ReleaseStore
from iris_operator.adapters.routers.ingress import CANARY_WEIGHT, IngressRouter, primary_ingress
from iris_operator.api import names
from iris_operator.engine.breakage import breaking_additions
from iris_operator.engine.drift import is_current, matches
from iris_operator.engine.manifests import deployment, service
from iris_operator.engine.ports import Conflict, NameTaken
from iris_operator.engine.release import Release, RevisionInputs, parse_release
from iris_operator.engine.scaling_manifests import autoscaler, disruption_budget
from support.operator.controllers import with_api
from support.operator.simulation import manifest
from support.servers.kubernetes import KubeApiserver
from support.servers.tools import component

CRD = Path(__file__).resolve().parents[3] / "crds" / "irismodelreleases.yaml"
NAMESPACE = "operator-objects"
T = TypeVar("T")


class Cluster:
    """kubectl and the operator's client, on the same server."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self.kubectl("apply", "--server-side", "-f", str(CRD))
        self.kubectl("wait", "--for=condition=Established", f"crd/{names.PLURAL}.{names.GROUP}", "--timeout=30s")
        self.kubectl("create", "namespace", NAMESPACE)

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        command = [component("kubectl"), f"--kubeconfig={self._kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    def apply(self, body: dict[str, Any], *, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(body), check=check)

    def with_api(self, operation: Callable[[KubernetesApi], Awaitable[T]]) -> T:
        return with_api(self._kubeconfig, operation)


@pytest.fixture(scope="module")
def cluster(kube_apiserver: KubeApiserver) -> Cluster:
    return Cluster(kube_apiserver.kubeconfig)


def release(name: str, **changes: Any) -> dict[str, Any]:
    body = manifest("1.0.0", **changes)
    body["metadata"] = {"name": name, "namespace": NAMESPACE}
    return body


@pytest.mark.parametrize(
    ("changes", "field", "word"),
    [
        ({"traffic": {"host": "a.example.com", "router": "Pigeon"}}, "spec.traffic.router", "Ingress"),
        ({"rollout": {"steps": [{"weight": 50}, {"weight": 10}]}}, "spec.rollout.steps", "rise"),
        ({"rollout": {"steps": [{"weight": 50}, {"weight": 50}]}}, "spec.rollout.steps", "rise"),
        ({"rollout": {"steps": [{"weight": 101}]}}, "spec.rollout.steps[0].weight", "100"),
        ({"rollout": {"steps": [{"weight": 0}]}}, "spec.rollout.steps[0]", "at least 1"),
        ({"rollout": {"steps": [{"minDuration": "1m"}]}}, "spec.rollout.steps[0]", "either"),
        ({"rollout": {"steps": [{"shadow": 10, "weight": 10}]}}, "spec.rollout.steps[0]", "either"),
        ({"rollout": {"steps": [{"shadow": 101}]}}, "spec.rollout.steps[0].shadow", "100"),
        ({"rollout": {"steps": [{"weight": 10}, {"shadow": 10}]}}, "spec.rollout.steps", "first"),
        ({"rollout": {"steps": [{"shadow": 1}, {"shadow": 10}]}}, "spec.rollout.steps", "first"),
        (
            {"analysis": {"checks": {"custom": [{"name": "copies", "query": "1", "max": 1}]}}},
            "checks.custom",
            "its own",
        ),
        ({"rollout": {"interval": "soon"}}, "spec.rollout.interval", "duration"),
        ({"rollout": {"steps": [{"weight": 5, "minDuration": "1 h"}]}}, "minDuration", "duration"),
        ({"model": {"name": "iris", "version": "1", "image": "r.example.com/iris"}}, "spec.model.image", "tag"),
        ({"model": {"name": "iris", "version": "1", "image": "r.example.com:5000/iris"}}, "spec.model.image", "tag"),
        (
            {"model": {"name": "iris", "version": "1", "image": "r.example.com/iris:latest"}},
            "spec.model.image",
            "latest",
        ),
        ({"serving": {"replicas": 0}}, "spec.serving.replicas", "1"),
        ({"traffic": {}}, "spec.traffic.host", "Required"),
        ({"serving": {"autoscaling": {"minReplicas": 2}}}, "spec.serving.autoscaling.maxReplicas", "Required"),
        (
            {"serving": {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}},
            "spec.serving.autoscaling",
            "must not be above",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_the_field_named(
    cluster: Cluster, changes: dict[str, Any], field: str, word: str
) -> None:
    done = cluster.apply(release("refused", **changes), check=False)
    assert done.returncode != 0
    assert field in done.stderr
    assert word in done.stderr


def test_a_release_with_only_model_replicas_and_host_gets_working_defaults(cluster: Cluster) -> None:
    body = release("defaults")
    del body["spec"]["rollout"]
    cluster.apply(body)
    stored = json.loads(cluster.kubectl("get", "imr", "defaults", f"-n={NAMESPACE}", "-o=json").stdout)
    parsed = parse_release(stored).spec
    assert [step.weight for step in parsed.rollout.steps] == [5, 25, 50, 100]
    assert stored["spec"]["rollout"]["interval"] == "10s"
    assert stored["spec"]["analysis"]["checks"]["errorRate"]["maxHarm"] == 0.01
    assert "accuracy" not in stored["spec"]["analysis"]["checks"], "it needs labels, which not everybody has"


@pytest.mark.parametrize("image", ["localhost/iris:1.0.0", "r.example.com:5000/a/b:v1", "r/i@sha256:" + "a" * 64])
def test_a_fixed_image_is_accepted(cluster: Cluster, image: str) -> None:
    cluster.apply(release("fixed", model={"name": "iris", "version": "1.0.0", "image": image}))


def test_applied_objects_match_whatever_defaults_the_server_adds(cluster: Cluster) -> None:
    """Otherwise every reconcile would see drift and write again."""
    serving = {
        "replicas": 2,
        "autoscaling": {"maxReplicas": 5},
        "resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"memory": "1Gi"}},
        "env": [{"name": "A", "value": "b"}],
        "envFrom": [{"secretRef": {"name": "s"}}],
        "imagePullSecrets": [{"name": "pull"}],
    }
    cluster.apply(release("drift", serving=serving))
    stored = parse_release(json.loads(cluster.kubectl("get", "imr", "drift", f"-n={NAMESPACE}", "-o=json").stdout))
    inputs, scaling = RevisionInputs.of(stored.spec), stored.spec.serving.autoscaling
    assert scaling is not None
    wanted = [
        deployment(stored, inputs, "stable", 2, None),
        service(stored, names.stable_service("drift"), inputs.ref.revision),
        primary_ingress(stored),
        autoscaler(stored, scaling, inputs.ref.revision, scale_down_allowed=True),
        autoscaler(stored, scaling, inputs.ref.revision, scale_down_allowed=False),
        disruption_budget(stored, inputs.ref.revision, None),
        disruption_budget(stored, inputs.ref.revision, 2),
    ]

    async def apply_and_read(api: KubernetesApi) -> list[Any]:
        found = []
        for body in wanted:
            await api.apply(body)
            found.append(await api.get(body["apiVersion"], body["kind"], NAMESPACE, body["metadata"]["name"]))
        return found

    for found, body in zip(cluster.with_api(apply_and_read), wanted, strict=True):
        assert matches(found, body), body["kind"]


def test_annotations_and_fields_of_others_are_kept(cluster: Cluster) -> None:
    cluster.apply(release("shared"))
    stored = parse_release(json.loads(cluster.kubectl("get", "imr", "shared", f"-n={NAMESPACE}", "-o=json").stdout))
    cluster.with_api(lambda api: IngressRouter(api).set_weight(stored, 20))
    for ingress in ("shared", "shared-canary"):
        cluster.kubectl("annotate", "ingress", ingress, f"-n={NAMESPACE}", "other.example.com/owner=somebody")
    cluster.with_api(lambda api: IngressRouter(api).set_weight(stored, 40))
    route = cluster.with_api(lambda api: IngressRouter(api).read(stored))
    assert (route.weight, route.intact) == (40, True)
    for ingress in ("shared", "shared-canary"):
        text = cluster.kubectl("get", "ingress", ingress, f"-n={NAMESPACE}", "-o=json").stdout
        assert json.loads(text)["metadata"]["annotations"]["other.example.com/owner"] == "somebody"


def test_a_weight_edited_by_hand_is_read_as_stored(cluster: Cluster) -> None:
    cluster.apply(release("edited"))
    stored = parse_release(json.loads(cluster.kubectl("get", "imr", "edited", f"-n={NAMESPACE}", "-o=json").stdout))
    cluster.with_api(lambda api: IngressRouter(api).set_weight(stored, 20))
    cluster.kubectl("annotate", "--overwrite", "ingress", "edited-canary", f"-n={NAMESPACE}", f"{CANARY_WEIGHT}=70")
    assert cluster.with_api(lambda api: IngressRouter(api).read(stored)).weight == 70


def test_a_status_decided_on_an_old_version_of_the_release_is_a_conflict(cluster: Cluster) -> None:
    cluster.apply(release("conflict"))

    async def write_twice(api: KubernetesApi) -> None:
        releases = ReleaseStore(api)
        body = await releases.read(NAMESPACE, "conflict")
        assert body is not None
        await releases.write_status(body, {"phase": "Initializing"})
        with pytest.raises(Conflict):
            await releases.write_status(body, {"phase": "Stable"})
        stored = await releases.read(NAMESPACE, "conflict")
        assert stored is not None
        assert stored["status"] == {"phase": "Initializing"}

    cluster.with_api(write_twice)


def test_a_status_is_replaced_as_a_whole(cluster: Cluster) -> None:
    cluster.apply(release("replaced"))

    async def write_twice(api: KubernetesApi) -> Any:
        releases = ReleaseStore(api)
        for status in ({"phase": "Progressing", "weight": 5}, {"phase": "Stable"}):
            body = await releases.read(NAMESPACE, "replaced")
            assert body is not None
            await releases.write_status(body, status)
        return await releases.read(NAMESPACE, "replaced")

    assert cluster.with_api(write_twice)["status"] == {"phase": "Stable"}


def test_a_release_that_is_gone_reads_as_none(cluster: Cluster) -> None:
    assert cluster.with_api(lambda api: ReleaseStore(api).read(NAMESPACE, "nobody")) is None


def read_release(cluster: Cluster, name: str) -> Release:
    return parse_release(json.loads(cluster.kubectl("get", "imr", name, f"-n={NAMESPACE}", "-o=json").stdout))


def test_what_is_taken_out_of_the_release_is_drift_and_gone_after_the_next_write(cluster: Cluster) -> None:
    options = {"tlsSecretName": "tls", "annotations": {"example.com/ours": "1"}}
    cluster.apply(release("taken", traffic={"host": "taken.example.com", "ingress": options}))
    cluster.with_api(lambda api: IngressRouter(api).set_weight(read_release(cluster, "taken"), 0))
    cluster.kubectl("annotate", "ingress", "taken", f"-n={NAMESPACE}", "example.com/theirs=2")
    cluster.kubectl(
        *("patch", "imr", "taken", f"-n={NAMESPACE}", "--type=json"),
        '--patch=[{"op": "remove", "path": "/spec/traffic/ingress"}]',
    )
    after = read_release(cluster, "taken")
    assert not cluster.with_api(lambda api: IngressRouter(api).read(after)).intact
    cluster.with_api(lambda api: IngressRouter(api).set_weight(after, 0))
    assert cluster.with_api(lambda api: IngressRouter(api).read(after)).intact
    stored = json.loads(cluster.kubectl("get", "ingress", "taken", f"-n={NAMESPACE}", "-o=json").stdout)
    assert stored["metadata"]["annotations"] == {"example.com/theirs": "2"}
    assert "tls" not in stored["spec"]


@pytest.mark.parametrize(
    "change",
    [
        {"selector": {"added": "by-hand"}},
        {"ports": [{"name": "http", "port": 81, "targetPort": "http"}]},
        {"publishNotReadyAddresses": True},
    ],
    ids=str,
)
def test_a_service_that_leads_elsewhere_leads_to_the_revision_again(cluster: Cluster, change: dict[str, Any]) -> None:
    cluster.apply(release("mended"))
    stored = read_release(cluster, "mended")
    wanted = service(stored, names.stable_service("mended"), "0123456789")
    cluster.with_api(lambda api: ReleaseObjects(api).apply(wanted))
    patch = json.dumps({"spec": change})
    cluster.kubectl("patch", "service", "mended-stable", f"-n={NAMESPACE}", "--type=merge", f"--patch={patch}")

    def spec() -> Any:
        text = cluster.kubectl("get", "service", "mended-stable", f"-n={NAMESPACE}", "-o=json").stdout
        return json.loads(text)

    assert not is_current(spec(), wanted) or breaking_additions(spec(), wanted)
    cluster.with_api(lambda api: ReleaseObjects(api).apply(wanted))
    assert is_current(spec(), wanted)
    assert not breaking_additions(spec(), wanted)
    assert spec()["spec"]["selector"] == wanted["spec"]["selector"]
    assert [port["port"] for port in spec()["spec"]["ports"]] == [80]


def test_objects_of_others_are_not_touched_and_orphans_are_adopted(cluster: Cluster) -> None:
    cluster.apply(release("owner"))
    stored = read_release(cluster, "owner")
    wanted = service(stored, names.stable_service("owner"), "0123456789")
    foreign = {key: value for key, value in wanted.items() if key != "metadata"}
    cluster.apply({**foreign, "metadata": {"name": "owner-stable", "namespace": NAMESPACE}})
    before = cluster.kubectl("get", "service", "owner-stable", f"-n={NAMESPACE}", "-o=yaml").stdout
    with pytest.raises(NameTaken, match=r"Service owner-stable .*kubectl"):
        cluster.with_api(lambda api: ReleaseObjects(api).apply(wanted))
    with pytest.raises(NameTaken):
        cluster.with_api(lambda api: ReleaseObjects(api).delete(wanted))
    assert cluster.kubectl("get", "service", "owner-stable", f"-n={NAMESPACE}", "-o=yaml").stdout == before
    cluster.kubectl("delete", "service", "owner-stable", f"-n={NAMESPACE}")
    older = {**wanted, "metadata": {**wanted["metadata"], "ownerReferences": [{**stored.owner, "uid": "older"}]}}
    cluster.with_api(lambda api: ReleaseObjects(api).apply(older))
    cluster.with_api(lambda api: ReleaseObjects(api).apply(wanted))
    adopted = json.loads(cluster.kubectl("get", "service", "owner-stable", f"-n={NAMESPACE}", "-o=json").stdout)
    assert [each["uid"] for each in adopted["metadata"]["ownerReferences"]] == [stored.uid]
    cluster.with_api(lambda api: ReleaseObjects(api).delete(wanted))
    assert cluster.kubectl("get", "service", "owner-stable", f"-n={NAMESPACE}", check=False).returncode != 0


def test_somebody_elses_object_of_the_same_moment_is_not_overwritten(cluster: Cluster) -> None:
    cluster.apply(release("race"))
    wanted = primary_ingress(read_release(cluster, "race"))
    theirs = json.loads(json.dumps(wanted))
    theirs["metadata"] = {"name": "race", "namespace": NAMESPACE}
    theirs["spec"]["rules"][0]["host"] = "theirs.example.com"
    cluster.apply(theirs)
    with pytest.raises(Conflict):
        cluster.with_api(lambda api: api.apply_new(wanted))
    text = cluster.kubectl("get", "ingress", "race", f"-n={NAMESPACE}", "-o=json").stdout
    assert json.loads(text)["spec"]["rules"][0]["host"] == "theirs.example.com"
