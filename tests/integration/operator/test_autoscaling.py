"""Stable is scaled by somebody else, on a real API server: who owns the number of pods, and that it stays."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.adapters.kubernetes.objects import ReleaseObjects
from iris_operator.api import names
from iris_operator.engine.manifests import deployment
from iris_operator.engine.release import RevisionInputs, parse_release
from support.operator.controllers import Kubectl, bring_up_pods, with_api
from support.operator.simulation import AUTOSCALED, manifest
from support.servers.process import ServerProcess

ROLLOUT = {"steps": [{"weight": 10}, {"weight": 50}, {"weight": 100}], "interval": "1s"}


def body(kubectl: Kubectl, version: str) -> dict[str, Any]:
    found = manifest(version, serving=AUTOSCALED, rollout=ROLLOUT)
    found["metadata"]["namespace"] = kubectl.namespace
    return found


def owners(found: dict[str, Any]) -> set[str]:
    """Field managers that own a Deployment's number of pods."""
    return {
        entry["manager"]
        for entry in found["metadata"]["managedFields"]
        if "f:replicas" in entry["fieldsV1"].get("f:spec", {})
    }


def workload(kubectl: Kubectl, version: str) -> dict[str, Any]:
    selector = f"--selector={names.LABEL_RELEASE}=iris,{names.LABEL_VERSION}={version},{names.LABEL_ROLE}!=control"
    (found,) = json.loads(kubectl.run("get", "deployments", selector, "--output=json"))["items"]
    return dict(found)


def with_owners(kubectl: Kubectl, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kubectl.run("get", "deployment", name, "--show-managed-fields", "--output=json"))
    return found


def manifest_with(kubectl: Kubectl, name: str, replicas: int | None) -> dict[str, Any]:
    made = body(kubectl, "1.0.0")
    made["metadata"] |= {"name": name, "uid": "0", "generation": 1, "resourceVersion": "1"}
    release = parse_release(made)
    return deployment(release, RevisionInputs.of(release.spec), "stable", replicas, None)


def test_giving_up_the_replicas_field_does_not_reset_it(kubectl: Kubectl) -> None:
    unscaled = manifest_with(kubectl, "handed-over", None)
    name = unscaled["metadata"]["name"]

    async def hand_over(api: KubernetesApi) -> None:
        await api.apply(manifest_with(kubectl, "handed-over", 4))
        await ReleaseObjects(api).apply_unscaled(unscaled)
        found = with_owners(kubectl, name)
        assert (found["spec"]["replicas"], owners(found)) == (4, {names.REPLICAS_MANAGER})
        kubectl.run("scale", "deployment", name, "--replicas=7")
        await ReleaseObjects(api).apply_unscaled(unscaled)
        assert kubectl.get("deployment", name)["spec"]["replicas"] == 7

    with_api(kubectl.kubeconfig, hand_over)
    kubectl.run("delete", "deployment", name)


def test_merely_leaving_the_replicas_field_out_resets_it(kubectl: Kubectl) -> None:
    unscaled = manifest_with(kubectl, "dropped", None)

    async def drop(api: KubernetesApi) -> None:
        await api.apply(manifest_with(kubectl, "dropped", 4))
        await api.apply(unscaled)

    with_api(kubectl.kubeconfig, drop)
    assert kubectl.get("deployment", unscaled["metadata"]["name"])["spec"]["replicas"] == 1
    kubectl.run("delete", "deployment", unscaled["metadata"]["name"])


@pytest.fixture
def stable(kubectl: Kubectl, operator: ServerProcess) -> str:
    """Name of stable's Deployment: version 1.0.0 is deployed and its autoscaler in place."""
    assert operator.pid
    kubectl.apply(body(kubectl, "1.0.0"))
    kubectl.run("wait", "--for=create", "deployment", f"--selector={names.LABEL_RELEASE}=iris", "--timeout=20s")
    bring_up_pods(kubectl)
    kubectl.run("wait", "--for=create", "service/iris-stable", "--timeout=20s")
    bring_up_pods(kubectl)
    kubectl.run("wait", "--for=condition=Promoted", "imr/iris", "--timeout=20s")
    kubectl.run("wait", "--for=create", "hpa/iris", "--timeout=20s")
    return str(workload(kubectl, "1.0.0")["metadata"]["name"])


def test_an_autoscaler_that_scales_during_a_shift_is_followed(kubectl: Kubectl, stable: str) -> None:
    kubectl.run("wait", f"--for=jsonpath={{.spec.scaleTargetRef.name}}={stable}", "hpa/iris", "--timeout=5s")
    kubectl.run("scale", "deployment", stable, "--replicas=6")
    kubectl.apply(body(kubectl, "2.0.0"))
    kubectl.run("wait", "--for=jsonpath={.status.phase}=Progressing", "imr/iris", "--timeout=20s")
    kubectl.run("wait", "--for=create", "service/iris-canary", "--timeout=20s")
    bring_up_pods(kubectl)
    kubectl.run("wait", "--for=jsonpath={.status.rollout.confirmedWeight}=10", "imr/iris", "--timeout=20s")
    canary = str(workload(kubectl, "2.0.0")["metadata"]["name"])
    kubectl.run("wait", "--for=jsonpath={.spec.replicas}=3", f"deployment/{canary}", "--timeout=20s")

    kubectl.run("scale", "deployment", stable, "--replicas=9")
    kubectl.run("wait", "--for=jsonpath={.spec.replicas}=5", f"deployment/{canary}", "--timeout=20s")

    found = with_owners(kubectl, stable)
    # kubectl writes the subresource that an autoscaler writes.
    assert (found["spec"]["replicas"], owners(found)) == (9, {"kubectl"})
    assert kubectl.get("imr", "iris")["status"]["phase"] == "Progressing"
    assert kubectl.get("hpa", "iris")["spec"]["behavior"]["scaleDown"]["selectPolicy"] == "Disabled"
    budgets = {item["metadata"]["name"]: item["spec"] for item in kubectl.get("pdb")["items"]}
    assert budgets[stable]["maxUnavailable"] == 1
    assert budgets[canary]["minAvailable"] == 1
