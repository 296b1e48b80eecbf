"""The operator lives through every kind of change with the rights of its Role, and needs each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from integration.harness.kubernetes import KubeApiserver, Right
from integration.harness.process import ServerProcess
from integration.operator.controllers import Kubectl, bring_up_pods
from iris_operator.api import names
from unit.operator.simulation import AUTOSCALED, manifest

RBAC = Path(__file__).resolve().parents[3] / "deploy/base/operator/rbac.yaml"
# All at once, so that promotion needs no requests and what retires goes at once.
QUICK = {"steps": [{"weight": 100}], "interval": "1s", "scaleDownDelay": "0s", "historyLimit": 0}


def granted() -> set[Right]:
    (role,) = (item for item in yaml.safe_load_all(RBAC.read_text()) if item["kind"] == "Role")
    return {
        Right(verb, group, resource)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


# A step that is not passed without requests, and begins all the same.
COPIED = QUICK | {"steps": [{"shadow": 50}, {"weight": 100}]}


def apply(kubectl: Kubectl, version: str, serving: dict[str, Any], rollout: dict[str, Any] = QUICK) -> None:
    body = manifest(version, serving=serving, rollout=rollout)
    body["metadata"]["namespace"] = kubectl.namespace
    kubectl.apply(body)


def promoted(kubectl: Kubectl, version: str) -> None:
    """Plays the controllers until the version serves."""
    status: dict[str, Any] = {}
    for _ in range(60):
        bring_up_pods(kubectl)
        status = kubectl.get("imr", "iris").get("status", {})
        if status.get("phase") == "Stable" and status["stable"]["version"] == version:
            return
    raise AssertionError(f"not promoted: {status}")


def shadowing(kubectl: Kubectl, version: str) -> None:
    """Plays the controllers until the version gets copies."""
    status: dict[str, Any] = {}
    for _ in range(60):
        bring_up_pods(kubectl)
        status = kubectl.get("imr", "iris").get("status", {})
        if status.get("rollout", {}).get("reason") in ("Shadowing", "Holding") and status["step"]["index"] == 1:
            assert status["canary"]["version"] == version
            return
    raise AssertionError(f"gets no copies: {status}")


def test_it_uses_what_it_is_granted_and_asks_for_nothing_else(
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
    assert used | {right for right in applied if right.group != names.GROUP} == granted()
