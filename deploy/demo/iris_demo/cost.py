"""What the operator costs while it runs: memory as the kubelet reports it, and writes while idle."""

from __future__ import annotations

import asyncio

from iris_demo.kube import KubeClient
from iris_demo.resources import DEPLOYMENTS, EVENTS, INGRESSES, PODS, RELEASES, SERVICES, Resource

OPERATOR_NAMESPACE = "iris-system"
OPERATOR_LABELS = "app.kubernetes.io/name=iris-operator"
# The kinds that the operator writes; of the events, only those about releases.
RESOURCES_OF_THE_OPERATOR: tuple[tuple[Resource, dict[str, str]], ...] = (
    (RELEASES, {}),
    (DEPLOYMENTS, {}),
    (SERVICES, {}),
    (INGRESSES, {}),
    (EVENTS, {"fieldSelector": "involvedObject.kind=IrisModelRelease"}),
)


async def operator_memory(kube: KubeClient) -> int | None:
    """Resident bytes of the larger of the operators from the kubelet's summary; None when none is listed there."""
    pods = await kube.list(PODS, OPERATOR_NAMESPACE, labelSelector=OPERATOR_LABELS)
    running = [pod for pod in pods if pod["status"].get("phase") == "Running"]
    found = [0]
    for pod in running:
        summary = await kube.get_raw(f"/api/v1/nodes/{pod['spec']['nodeName']}/proxy/stats/summary")
        for entry in summary.get("pods", ()):
            if entry["podRef"]["uid"] == pod["metadata"]["uid"]:
                memory = [c.get("memory", {}) for c in entry.get("containers", ())]
                found.append(sum(m.get("rssBytes", m.get("workingSetBytes", 0)) for m in memory))
    return max(found) or None


async def changes_while_idle(kube: KubeClient, namespace: str, seconds: float) -> tuple[str, ...]:
    """The objects of the operator's kinds that were changed, created or removed within ``seconds``."""
    before = await _resource_versions(kube, namespace)
    await asyncio.sleep(seconds)
    after = await _resource_versions(kube, namespace)
    return tuple(sorted({f"{kind}/{name}" for kind, name, _ in before ^ after}))


async def _resource_versions(kube: KubeClient, namespace: str) -> set[tuple[str, str, str]]:
    listed = await asyncio.gather(*(kube.list(kind, namespace, **query) for kind, query in RESOURCES_OF_THE_OPERATOR))
    return {
        (kind.plural, item["metadata"]["name"], item["metadata"]["resourceVersion"])
        for (kind, _), items in zip(RESOURCES_OF_THE_OPERATOR, listed, strict=True)
        for item in items
    }
