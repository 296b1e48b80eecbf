"""Prometheus and Alertmanager of the cluster as the scenarios meet them."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from integration.harness.webhook import Told, Webhook, listening
from iris_demo.addresses import PROMETHEUS_URL
from iris_demo.kube import DEPLOYMENTS, Kube, Object, Resource
from iris_local.network import NODE_ADDRESS

SYSTEM = "iris-system"
SECRETS = Resource("api/v1", "secrets")
STATEFUL_SETS = Resource("apis/apps/v1", "statefulsets")
WEBHOOKS = "alertmanager-webhooks"
RECEIVERS = ("team", "pager", "heartbeat")
READY_SECONDS = 90.0


class Alerts:
    """What Alertmanager has told."""

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook

    async def firing(self, name: str, seconds: float, **labels: str) -> Told:
        """Wait until somebody was told of an alert with these labels."""
        return await asyncio.to_thread(self._webhook.until_firing, name, seconds, **labels)

    def names(self, **labels: str) -> set[str]:
        """Alerts with these labels that somebody was told of."""
        return {told.name for told in self._webhook.told() if labels.items() <= told.labels.items()}


@asynccontextmanager
async def alerts(kube: Kube) -> AsyncIterator[Alerts]:
    """Alertmanager tells this process for the length of the block, and nobody afterwards, as before."""
    with listening(NODE_ADDRESS) as webhook:
        addresses = {name: base64.b64encode(f"{webhook.url}/{name}".encode()).decode() for name in RECEIVERS}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": WEBHOOKS, "namespace": SYSTEM},
            "data": addresses,
        }
        await kube.apply(SECRETS, secret)
        # A pod that runs sees a new Secret a minute later; one that starts sees it at once.
        await _restart(kube, "alertmanager")
        try:
            yield Alerts(webhook)
        finally:
            await kube.delete(SECRETS, SYSTEM, WEBHOOKS)
            await _restart(kube, "alertmanager")


async def scale(kube: Kube, resource: Resource, namespace: str, name: str, replicas: int) -> None:
    """Ask for so many pods, and wait until they are ready, or none is left."""
    await kube.merge(resource, namespace, name, {"spec": {"replicas": replicas}})
    await kube.until(resource, namespace, name, lambda found: _ready(found) == replicas, READY_SECONDS)


async def shows_something(query: str, since: float) -> bool:
    """Whether a graph of the query, from `since` in Unix seconds until now, has a line: 0/0 is none."""
    values = [value for series in await ask(query, since) for _, value in series["values"]]
    return any(value != "NaN" for value in values)


async def number(query: str) -> float:
    """The newest value of a query for one number; 0 when there is none."""
    series = await ask(query, time.time() - 4)
    return float(series[0]["values"][-1][1]) if series else 0.0


async def ask(query: str, since: float, step: float = 2.0) -> list[dict[str, Any]]:
    """The series of a query from `since`, Unix seconds, until now; RuntimeError when Prometheus refuses it."""
    parameters = {"query": query, "start": f"{since:.3f}", "end": f"{time.time():.3f}", "step": f"{step:g}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{PROMETHEUS_URL}/api/v1/query_range", data=parameters) as answer,
    ):
        body = await answer.json()
    if body["status"] != "success":
        raise RuntimeError(f"{query}: {body.get('error')}")
    found: list[dict[str, Any]] = body["data"]["result"]
    return found


def _ready(found: Object | None) -> int:
    status = (found or {}).get("status", {})
    return int(status.get("readyReplicas", 0))


async def _restart(kube: Kube, name: str) -> None:
    change = {
        "spec": {"template": {"metadata": {"annotations": {"iris.mlrelease.dev/restarted": f"{time.time():.3f}"}}}}
    }
    changed = await kube.merge(DEPLOYMENTS, SYSTEM, name, change)
    generation = changed["metadata"]["generation"]

    def restarted(found: Object | None) -> bool:
        status = (found or {}).get("status", {})
        counts = {status.get(which) for which in ("replicas", "updatedReplicas", "readyReplicas")}
        return bool(status.get("observedGeneration", 0) >= generation) and counts == {1}

    await kube.until(DEPLOYMENTS, SYSTEM, name, restarted, READY_SECONDS)
