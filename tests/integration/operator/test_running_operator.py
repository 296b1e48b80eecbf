"""The operator's process on a real API server, with Kopf's real watches."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.operator.controllers import Kubectl, bring_up_pods
from support.operator.simulation import manifest
from support.servers.kubernetes import KubeApiserver
from support.servers.process import ServerProcess

CRD = Path(__file__).resolve().parents[3] / "crds" / "irismodelreleases.yaml"
WATCHED = ("irismodelreleases", "deployments", "services", "pods", "endpointslices", "ingresses")
WRITES = {"create", "update", "patch", "delete", "deletecollection"}
# One resync of the watches would be seen in it, and any loop that writes at its polling pace.
IDLE_SECONDS = 20


def release(kubectl: Kubectl, version: str, **changes: Any) -> dict[str, Any]:
    body = manifest(version, **changes)
    body["metadata"] = {"name": "iris", "namespace": kubectl.namespace}
    return body


def requests(server: KubeApiserver, namespace: str, verbs: Collection[str]) -> Counter[str]:
    """Requests of the operator so far, by resource, of the kinds that we watch: the API server asks itself, too."""
    found: Counter[str] = Counter()
    for right, times in server.requests_of(namespace, "iris-operator").items():
        resource = right.resource.partition("/")[0]
        if resource in WATCHED and right.verb in verbs:
            found[resource] += times
    return found


def deploy_first(kubectl: Kubectl) -> None:
    kubectl.apply(release(kubectl, "1.0.0"))
    kubectl.run("wait", "--for=jsonpath={.status.observedGeneration}=1", "imr/iris", "--timeout=20s")
    bring_up_pods(kubectl)
    kubectl.run("wait", "--for=create", "service/iris-stable", "--timeout=20s")
    bring_up_pods(kubectl)
    kubectl.run("wait", "--for=condition=Promoted", "imr/iris", "--timeout=20s")


def test_an_idle_operator_lists_each_kind_once_and_writes_nothing(
    kube_apiserver: KubeApiserver, kubectl: Kubectl, restricted_operator: ServerProcess
) -> None:
    assert restricted_operator.pid
    kubectl.apply(release(kubectl, "1.0.0"))
    kubectl.run("wait", "--for=jsonpath={.status.phase}=Initializing", "imr/iris", "--timeout=20s")
    listed = requests(kube_apiserver, kubectl.namespace, {"list"})
    # Before that it has asked for one release, to know whether a handler is going to be called.
    assert listed - Counter({"irismodelreleases": 1}) == dict.fromkeys(WATCHED, 1)
    deploy_first(kubectl)
    before = requests(kube_apiserver, kubectl.namespace, WRITES)
    assert before
    with pytest.raises(AssertionError, match="timed out"):
        kubectl.run("wait", "--for=jsonpath={.status.phase}=Degraded", "imr/iris", f"--timeout={IDLE_SECONDS}s")
    assert requests(kube_apiserver, kubectl.namespace, WRITES) == before


@pytest.fixture
def older_definition(kubectl: Kubectl) -> Iterator[None]:
    """The API server accepts a router that the operator does not know. Afterwards it is strict again."""
    router = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/traffic/properties/router/enum"
    older = json.dumps([{"op": "remove", "path": router}])
    kubectl.run("patch", "crd/irismodelreleases.iris.mlrelease.dev", "--type=json", f"--patch={older}")
    yield
    kubectl.run("apply", "--server-side", "--force-conflicts", "-f", str(CRD))


@pytest.mark.usefixtures("older_definition")
def test_a_stored_invalid_release_is_degraded_and_the_others_go_on(kubectl: Kubectl, operator: ServerProcess) -> None:
    assert operator.pid
    deploy_first(kubectl)
    body = release(kubectl, "1.0.0", traffic={"host": "broken.example.com", "router": "Pigeon"})
    body["metadata"]["name"] = "broken"
    kubectl.apply(body)
    kubectl.run("wait", "--for=jsonpath={.status.phase}=Degraded", "imr/broken", "--timeout=20s")
    conditions = kubectl.get("imr", "broken")["status"]["conditions"]
    assert "spec.traffic.router" in next(c["message"] for c in conditions if c["type"] == "Degraded")
    assert not [d for d in kubectl.get("deployments")["items"] if d["metadata"]["name"].startswith("broken")]
    kubectl.run("wait", "--for=condition=Promoted", "imr/iris", "--timeout=5s")
    kubectl.run("delete", "imr", "broken", "--timeout=30s")


def test_a_deleted_release_is_finalized(kubectl: Kubectl, operator: ServerProcess) -> None:
    assert operator.pid
    deploy_first(kubectl)
    kubectl.run("delete", "imr", "iris", "--timeout=30s")
