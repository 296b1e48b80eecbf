"""What the operator costs while it runs: memory as the kubelet sees it, and writes while idle."""

from __future__ import annotations

import asyncio

from iris_demo.kube import DEPLOYMENTS, EVENTS, INGRESSES, PODS, RELEASES, SERVICES, Kube, Resource

OPERATOR_NAMESPACE = "iris-system"
OPERATOR_LABELS = "app.kubernetes.io/name=iris-operator"
# The operator's own kinds; of the events, those about releases, for the others are the cluster's.
WRITTEN_BY_THE_OPERATOR: tuple[tuple[Resource, dict[str, str]], ...] = (
    (RELEASES, {}),
    (DEPLOYMENTS, {}),
    (SERVICES, {}),
    (INGRESSES, {}),
    (EVENTS, {"fieldSelector": "involvedObject.kind=IrisModelRelease"}),
)


async def operator_memory(kube: Kube) -> int | None:
    """Resident bytes of the operator's container from its kubelet's summary; None when it has no word on it."""
    pods = await kube.list(PODS, OPERATOR_NAMESPACE, labelSelector=OPERATOR_LABELS)
    running = [pod for pod in pods if pod["status"].get("phase") == "Running"]
    for pod in running:
        summary = await kube.raw(f"/api/v1/nodes/{pod['spec']['nodeName']}/proxy/stats/summary")
        for entry in summary.get("pods", ()):
            if entry["podRef"]["uid"] == pod["metadata"]["uid"]:
                memory = [c.get("memory", {}) for c in entry.get("containers", ())]
                return sum(m.get("rssBytes", m.get("workingSetBytes", 0)) for m in memory) or None
    return None


async def idle_changes(kube: Kube, namespace: str, seconds: float) -> tuple[str, ...]:
    """Which objects of the kinds that the operator writes were changed, made or removed in ``seconds``."""
    before = await _versions(kube, namespace)
    await asyncio.sleep(seconds)
    after = await _versions(kube, namespace)
    return tuple(sorted({f"{kind}/{name}" for kind, name, _ in before ^ after}))


async def _versions(kube: Kube, namespace: str) -> set[tuple[str, str, str]]:
    listed = await asyncio.gather(*(kube.list(kind, namespace, **query) for kind, query in WRITTEN_BY_THE_OPERATOR))
    return {
        (kind.plural, item["metadata"]["name"], item["metadata"]["resourceVersion"])
        for (kind, _), items in zip(WRITTEN_BY_THE_OPERATOR, listed, strict=True)
        for item in items
    }
