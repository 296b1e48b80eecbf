"""The operator's process on a real API server, with Kopf's real watches."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.harness.process import ServerProcess
from integration.operator.controllers import Kubectl, bring_up_pods
from unit.operator.simulation import manifest

CRD = Path(__file__).resolve().parents[3] / "crds" / "irismodelreleases.yaml"
WATCHED = ("irismodelreleases", "deployments", "services", "pods", "endpointslices", "ingresses")
# One resync of the watches would be seen in it, and any loop that writes at its polling pace.
IDLE_SECONDS = 20


def release(kubectl: Kubectl, version: str, **changes: Any) -> dict[str, Any]:
    body = manifest(version, **changes)
    body["metadata"] = {"name": "iris", "namespace": kubectl.namespace}
    return body


def requests(kubectl: Kubectl, verbs: str) -> Counter[str]:
    """Requests that the API server has answered so far, by resource, of the kinds that we watch."""
    found: Counter[str] = Counter()
    for line in kubectl.run("get", "--raw", "/metrics").splitlines():
        if line.startswith("apiserver_request_total{"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            if labels["resource"] in WATCHED and re.fullmatch(verbs, labels["verb"]):
                found[labels["resource"]] += int(float(line.rsplit(" ", 1)[1]))
    return found


def deploy_first(kubectl: Kubectl) -> None:
    kubectl.apply(release(kubectl, "1.0.0"))
    kubectl.run("wait", "--for=jsonpath={.status.observedGeneration}=1", "imr/iris", "--timeout=20s")
    bring_up_pods(kubectl)
    kubectl.run("wait", "--for=create", "service/iris-stable", "--timeout=20s")
    bring_up_pods(kubectl)
    kubectl.run("wait", "--for=condition=Promoted", "imr/iris", "--timeout=20s")


def test_an_idle_operator_lists_each_kind_once_and_writes_nothing(kubectl: Kubectl, request: Any) -> None:
    lists = requests(kubectl, "LIST")
    request.getfixturevalue("operator")
    kubectl.apply(release(kubectl, "1.0.0"))
    kubectl.run("wait", "--for=jsonpath={.status.phase}=Initializing", "imr/iris", "--timeout=20s")
    listed = requests(kubectl, "LIST") - lists
    # kubectl's wait lists the releases too when it has to wait.
    assert {kind: min(count, 1) if kind == "irismodelreleases" else count for kind, count in listed.items()} == (
        dict.fromkeys(WATCHED, 1)
    )
    assert listed["irismodelreleases"] <= 2
    deploy_first(kubectl)
    before = requests(kubectl, "PATCH|APPLY|PUT|POST|DELETE")
    with pytest.raises(AssertionError, match="timed out"):
        kubectl.run("wait", "--for=jsonpath={.status.phase}=Degraded", "imr/iris", f"--timeout={IDLE_SECONDS}s")
    assert requests(kubectl, "PATCH|APPLY|PUT|POST|DELETE") == before


@pytest.fixture
def older_definition(kubectl: Kubectl) -> Iterator[None]:
    """The API server lets a router in that the operator does not know. It is strict again for whoever comes next."""
    router = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/traffic/properties/router/enum"
    older = json.dumps([{"op": "remove", "path": router}])
    kubectl.run("patch", "crd/irismodelreleases.iris.mlrelease.dev", "--type=json", f"--patch={older}")
    yield
    kubectl.run("apply", "--server-side", "--force-conflicts", "-f", str(CRD))


@pytest.mark.usefixtures("older_definition")
def test_a_release_that_got_in_broken_is_degraded_and_the_others_go_on(
    kubectl: Kubectl, operator: ServerProcess
) -> None:
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


def test_a_deleted_release_is_let_go(kubectl: Kubectl, operator: ServerProcess) -> None:
    assert operator.pid
    deploy_first(kubectl)
    kubectl.run("delete", "imr", "iris", "--timeout=30s")
