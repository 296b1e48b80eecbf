"""The pods of stable's version that stand beside a canary, as the API server has them."""

from __future__ import annotations

from collections.abc import ItemsView

from iris_demo.access import RELEASE_LABEL
from iris_demo.kube import KubeClient, Object
from iris_demo.resources import DEPLOYMENTS, PODS, SERVICES
from support.e2e.invariants import ARM_LABEL, CONTROL

VERSION_LABEL = "iris.mlrelease.dev/version"
ROLE_LABEL = "iris.mlrelease.dev/role"
SECONDS = 120.0


async def wait_until_ready(kube: KubeClient, namespace: str, release: str, version: str, pods: int) -> None:
    """Wait until so many of its pods are ready; they run ``version`` and are behind the canary's Service only."""
    (deployment,) = await _deployments(kube, namespace, release)
    await kube.wait_for(
        DEPLOYMENTS,
        namespace,
        deployment["metadata"]["name"],
        lambda found: found is not None and found.get("status", {}).get("readyReplicas") == pods,
        SECONDS,
    )
    canary, stable = [await _selector(kube, namespace, f"{release}-{backend}") for backend in ("canary", "stable")]
    labels = [
        pod["metadata"]["labels"]
        for pod in await _pods(kube, namespace, release)
        if "deletionTimestamp" not in pod["metadata"]
    ]
    assert len(labels) == pods
    for each in labels:
        assert each[VERSION_LABEL] == version
        assert canary <= each.items()
        assert not stable <= each.items()


async def wait_until_gone(kube: KubeClient, namespace: str, release: str) -> None:
    """Wait until its Deployment and all of its pods are gone."""
    for resource, objects in (
        (DEPLOYMENTS, await _deployments(kube, namespace, release)),
        (PODS, await _pods(kube, namespace, release)),
    ):
        for each in objects:
            await kube.wait_for(resource, namespace, each["metadata"]["name"], lambda found: found is None, SECONDS)


async def _deployments(kube: KubeClient, namespace: str, release: str) -> list[Object]:
    selector = f"{RELEASE_LABEL}={release},{ROLE_LABEL}={CONTROL}"
    return await kube.list(DEPLOYMENTS, namespace, labelSelector=selector)


async def _pods(kube: KubeClient, namespace: str, release: str) -> list[Object]:
    return await kube.list(PODS, namespace, labelSelector=f"{RELEASE_LABEL}={release},{ARM_LABEL}={CONTROL}")


async def _selector(kube: KubeClient, namespace: str, service: str) -> ItemsView[str, str]:
    found = await kube.get(SERVICES, namespace, service)
    assert found is not None
    selector: dict[str, str] = found["spec"]["selector"]
    return selector.items()
