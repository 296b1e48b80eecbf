"""The operator beside the controllers that scale, replace and count pods. The test is only their kubelet."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from iris_operator.api import names
from support.operator.controllers import Kubectl, make_pods_ready
from support.operator.simulation import AUTOSCALED, manifest
from support.servers.controllers import controller_manager
from support.servers.kubernetes import KubeApiserver
from support.servers.process import ServerProcess
from support.servers.steady_metrics import steady_metrics
from support.servers.tools import component

CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "horizontal-pod-autoscaler-controller",
    "disruption-controller",
)
PATIENCE_SECONDS = 120.0
QUICK = {"interval": "1s", "warmUp": "0s", "watch": "0s"}


@pytest.fixture(scope="module")
def kube_apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApiserver]:
    # One of its own: the controllers would change the objects of every other test.
    folder = tmp_path_factory.mktemp("kubernetes")
    server = KubeApiserver(folder)
    controllers: ServerProcess | None = None
    try:
        server.start()
        controllers = controller_manager(server, folder, CONTROLLERS)
        controllers.start()
        yield server
    finally:
        if controllers is not None:
            controllers.stop()
        server.stop()


@pytest.fixture
def prometheus_url(kubectl: Kubectl) -> Iterator[str]:
    with steady_metrics(lambda: kubectl.get("pods")["items"]) as url:
        yield url


def release(kubectl: Kubectl, name: str, version: str, floor: int, **rollout: Any) -> dict[str, Any]:
    scaling = {"minReplicas": floor, "maxReplicas": 9}
    body = manifest(version, serving={**AUTOSCALED, "replicas": 2, "autoscaling": scaling})
    body["metadata"] = {"name": name, "namespace": kubectl.namespace}
    body["spec"]["rollout"] = {"steps": [{"weight": 50, "minDuration": "1h"}, {"weight": 100}], **QUICK, **rollout}
    return body


def until(kubectl: Kubectl, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, kubectl.run("describe", "imr,hpa,pdb")
        make_pods_ready(kubectl)


def status(kubectl: Kubectl, name: str) -> dict[str, Any]:
    found: dict[str, Any] = kubectl.get("imr", name).get("status", {})
    return found


def _confirmed(kubectl: Kubectl, name: str) -> int:
    """The weight of the step that has begun."""
    return int(status(kubectl, name).get("rollout", {}).get("confirmedWeight", 0))


def workload(kubectl: Kubectl, name: str, version: str) -> dict[str, Any]:
    own = f"{names.LABEL_RELEASE}={name},{names.LABEL_VERSION}={version},{names.LABEL_ROLE}!=control"
    selector = f"--selector={own}"
    (found,) = json.loads(kubectl.run("get", "deployments", selector, "--show-managed-fields", "--output=json"))[
        "items"
    ]
    return dict(found)


def scaled(kubectl: Kubectl, name: str, version: str) -> tuple[int, set[str]]:
    """The replicas of a Deployment, and the field managers that own them."""
    found = workload(kubectl, name, version)
    asking = {
        entry["manager"]
        for entry in found["metadata"]["managedFields"]
        if "f:replicas" in entry["fieldsV1"].get("f:spec", {})
    }
    return found["spec"]["replicas"], asking


def target(kubectl: Kubectl, name: str) -> str:
    return str(kubectl.get("hpa", name)["spec"]["scaleTargetRef"]["name"])


@pytest.fixture
def deployed(kubectl: Kubectl, operator: ServerProcess, request: pytest.FixtureRequest) -> Iterator[str]:
    """Name of a release whose version 1.0.0 serves with two pods, scaled by its autoscaler."""
    assert operator.pid
    name = "-".join(request.node.name.split("_")[2:5])
    kubectl.apply(release(kubectl, name, "1.0.0", floor=2))
    until(kubectl, lambda: status(kubectl, name).get("phase") == "Stable")
    kubectl.run("wait", "--for=create", f"hpa/{name}", "--timeout=20s")
    yield name
    kubectl.run("delete", "imr", name, "--timeout=30s")
    # There is no garbage collector here.
    kubectl.run("delete", "deployments,services,hpa,pdb,pods", f"--selector={names.LABEL_RELEASE}={name}")


def test_an_autoscaler_that_scales_stable_during_a_shift_is_followed(kubectl: Kubectl, deployed: str) -> None:
    kubectl.apply(release(kubectl, deployed, "2.0.0", floor=2))
    until(kubectl, lambda: _confirmed(kubectl, deployed) == 50)

    # Below its floor an autoscaler needs no measurement to scale.
    kubectl.apply(release(kubectl, deployed, "2.0.0", floor=5))
    until(kubectl, lambda: workload(kubectl, deployed, "1.0.0")["status"].get("readyReplicas") == 5)
    until(kubectl, lambda: workload(kubectl, deployed, "2.0.0")["status"].get("readyReplicas") == 5)

    pods, asking = scaled(kubectl, deployed, "1.0.0")
    assert (pods, names.FIELD_MANAGER in asking) == (5, False)
    assert scaled(kubectl, deployed, "2.0.0") == (5, {names.FIELD_MANAGER})
    assert target(kubectl, deployed) == workload(kubectl, deployed, "1.0.0")["metadata"]["name"]
    assert (status(kubectl, deployed)["phase"], _confirmed(kubectl, deployed)) == ("Progressing", 50)


def test_promotion_hands_the_autoscaler_on_and_no_pod_is_missing(kubectl: Kubectl, deployed: str) -> None:
    hour = {"steps": [{"weight": 100, "minDuration": "1h"}]}
    kubectl.apply(release(kubectl, deployed, "2.0.0", floor=2, **hour))
    until(kubectl, lambda: _confirmed(kubectl, deployed) == 100)
    canary = workload(kubectl, deployed, "2.0.0")["metadata"]["name"]
    until(kubectl, lambda: target(kubectl, deployed) == canary)

    kubectl.apply(release(kubectl, deployed, "2.0.0", floor=4, **hour))
    until(kubectl, lambda: workload(kubectl, deployed, "2.0.0")["status"].get("readyReplicas") == 4)
    kubectl.apply(release(kubectl, deployed, "2.0.0", floor=4, steps=[{"weight": 100}]))
    fewest = 4

    def promoted() -> bool:
        nonlocal fewest
        fewest = min(fewest, workload(kubectl, deployed, "2.0.0")["spec"]["replicas"])
        return bool(status(kubectl, deployed)["phase"] == "Stable")

    until(kubectl, promoted)
    pods, asking = scaled(kubectl, deployed, "2.0.0")
    assert (fewest, pods, names.FIELD_MANAGER in asking) == (4, 4, False)
    assert (target(kubectl, deployed), status(kubectl, deployed)["stable"]["version"]) == (canary, "2.0.0")


def test_the_budget_lets_a_drain_take_one_pod_after_the_other(kubectl: Kubectl, deployed: str) -> None:
    budget = workload(kubectl, deployed, "1.0.0")["metadata"]["name"]

    def allowed() -> bool:
        counted = kubectl.get("pdb", budget)["status"]
        return (counted.get("currentHealthy"), counted.get("disruptionsAllowed")) == (2, 1)

    def pods() -> list[str]:
        selector = f"--selector={names.LABEL_RELEASE}={deployed}"
        return [
            item["metadata"]["name"] for item in json.loads(kubectl.run("get", "pods", selector, "-o=json"))["items"]
        ]

    until(kubectl, allowed)
    first, second = pods()
    assert evict(kubectl, first) == ""
    assert "would violate the pod's disruption budget" in evict(kubectl, second)
    until(kubectl, lambda: len(pods()) == 2 and allowed())
    assert evict(kubectl, second) == ""


def evict(kubectl: Kubectl, pod: str) -> str:
    """Evict as a drain does; returns the API server's objection."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": kubectl.namespace}}
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{pod}/eviction"
    command = [component("kubectl"), f"--kubeconfig={kubectl.kubeconfig}", "create", f"--raw={path}", "--filename=-"]
    return subprocess.run(command, input=json.dumps(body), capture_output=True, text=True, check=False).stderr
