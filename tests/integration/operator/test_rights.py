"""The operator makes every kind of change with the rights of its Role, and uses each of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from iris_operator.adapters.kinds import ALL, required_rights
from iris_operator.adapters.routers.ingress import INGRESS
from iris_operator.adapters.routers.registry import ROUTER_KINDS
from iris_operator.api import names
from support.operator.controllers import Kubectl, bring_up_pods
from support.operator.rbac import granted
from support.operator.simulation import AUTOSCALED, manifest
from support.servers.kubernetes import KubeApiserver, Right
from support.servers.process import ServerProcess
from support.servers.steady_metrics import steady_metrics

# All at once, and what is retired is removed at once.
QUICK = {
    "steps": [{"weight": 100}],
    "interval": "1s",
    "warmUp": "0s",
    "watch": "0s",
    "scaleDownDelay": "0s",
    "historyLimit": 0,
}


# A step that never passes without requests, but begins.
COPIED = QUICK | {"steps": [{"shadow": 50}, {"weight": 100}]}


@pytest.fixture
def prometheus_url(kubectl: Kubectl) -> Iterator[str]:
    with steady_metrics(lambda: kubectl.get("pods")["items"]) as url:
        yield url


def apply(kubectl: Kubectl, version: str, serving: dict[str, Any], rollout: dict[str, Any] = QUICK) -> None:
    body = manifest(version, serving=serving, rollout=rollout)
    body["metadata"]["namespace"] = kubectl.namespace
    kubectl.apply(body)


def promoted(kubectl: Kubectl, version: str) -> None:
    """Stand in for the controllers until the version serves."""
    status: dict[str, Any] = {}
    for _ in range(60):
        bring_up_pods(kubectl)
        status = kubectl.get("imr", "iris").get("status", {})
        if status.get("phase") == "Stable" and status["stable"]["version"] == version:
            return
    raise AssertionError(f"not promoted: {status}")


def shadowing(kubectl: Kubectl, version: str) -> None:
    """Stand in for the controllers until requests are mirrored to the version."""
    status: dict[str, Any] = {}
    for _ in range(60):
        bring_up_pods(kubectl)
        status = kubectl.get("imr", "iris").get("status", {})
        if status.get("rollout", {}).get("reason") in ("Shadowing", "Holding") and status["step"]["index"] == 1:
            assert status["canary"]["version"] == version
            return
    raise AssertionError(f"no requests are mirrored: {status}")


def test_the_operator_uses_every_granted_right_and_needs_no_other(
    kube_apiserver: KubeApiserver, kubectl: Kubectl, restricted_operator: ServerProcess
) -> None:
    assert restricted_operator.pid
    apply(kubectl, "1.0.0", AUTOSCALED)
    promoted(kubectl, "1.0.0")
    kubectl.run("wait", "--for=create", "hpa/iris", "--timeout=20s")
    apply(kubectl, "2.0.0", AUTOSCALED)
    promoted(kubectl, "2.0.0")
    fixed = {key: value for key, value in AUTOSCALED.items() if key != "autoscaling"}
    apply(kubectl, "2.0.0", fixed)
    kubectl.run("wait", "--for=delete", "hpa/iris", "--timeout=20s")
    apply(kubectl, "3.0.0", fixed, COPIED)
    shadowing(kubectl, "3.0.0")
    apply(kubectl, "2.0.0", fixed, COPIED)
    promoted(kubectl, "2.0.0")
    kubectl.run("delete", "imr", "iris", "--timeout=30s")

    used = kube_apiserver.rights_used(kubectl.namespace, "iris-operator")
    # An apply that finds nothing is asked for both verbs and logged as patch.
    applied = {Right("create", right.group, right.resource) for right in used if right.verb == "patch"}
    needed = required_rights(kind for kind in ALL if kind == INGRESS or kind not in ROUTER_KINDS)
    outside = {Right("get", "", "namespaces")}  # of the ClusterRole: is the namespace being deleted?
    assert used | {right for right in applied if right.group != names.GROUP} == set(needed) | outside
    assert set(required_rights()) == granted()
