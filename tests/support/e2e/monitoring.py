"""Prometheus and Alertmanager of the cluster as the scenarios meet them."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from iris_demo.addresses import PROMETHEUS_URL
from iris_demo.kube import KubeClient, Object
from iris_demo.resources import DEPLOYMENTS, Resource
from iris_local.network import NODE_ADDRESS
from support.servers.webhook import ReceivedAlert, Webhook, run_webhook

SYSTEM = "iris-system"
SECRETS = Resource("api/v1", "secrets")
STATEFUL_SETS = Resource("apis/apps/v1", "statefulsets")
WEBHOOKS = "alertmanager-webhooks"
RECEIVERS = ("team", "pager", "heartbeat")
READY_SECONDS = 90.0


class AlertReceiver:
    """The alerts that Alertmanager has sent."""

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook

    async def wait_for_firing(self, name: str, seconds: float, **labels: str) -> ReceivedAlert:
        """Wait for a firing alert with these labels."""
        return await asyncio.to_thread(self._webhook.wait_for_firing, name, seconds, **labels)

    def names(self, **labels: str) -> set[str]:
        """The names of the received alerts with these labels."""
        return {alert.name for alert in self._webhook.alerts() if labels.items() <= alert.labels.items()}


@asynccontextmanager
async def receive_alerts(kube: KubeClient) -> AsyncIterator[AlertReceiver]:
    """Alertmanager notifies this process for the duration of the block, and nobody before and after it."""
    with run_webhook(NODE_ADDRESS) as webhook:
        addresses = {name: base64.b64encode(f"{webhook.url}/{name}".encode()).decode() for name in RECEIVERS}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": WEBHOOKS, "namespace": SYSTEM},
            "data": addresses,
        }
        await kube.apply(SECRETS, secret)
        # A running pod sees a new Secret up to a minute later; a new one sees it at once.
        await _restart(kube, "alertmanager")
        try:
            yield AlertReceiver(webhook)
        finally:
            await kube.delete(SECRETS, SYSTEM, WEBHOOKS)
            await _restart(kube, "alertmanager")


async def scale(kube: KubeClient, resource: Resource, namespace: str, name: str, replicas: int) -> None:
    """Scale to so many replicas and wait until they are ready, or none is left."""
    await kube.merge_patch(resource, namespace, name, {"spec": {"replicas": replicas}})
    await kube.wait_for(resource, namespace, name, lambda found: _ready(found) == replicas, READY_SECONDS)


async def has_data(query: str, since: float) -> bool:
    """Whether a query has a value other than NaN from `since`, in Unix seconds, until now."""
    values = [value for series in await query_range(query, since) for _, value in series["values"]]
    return any(value != "NaN" for value in values)


async def query_value(query: str) -> float:
    """The newest value of a query for a single series; 0 when there is none."""
    series = await query_range(query, time.time() - 4)
    return float(series[0]["values"][-1][1]) if series else 0.0


async def query_range(query: str, since: float, step: float = 2.0) -> list[dict[str, Any]]:
    """The series of a query from `since`, Unix seconds, until now; RuntimeError when Prometheus rejects it."""
    parameters = {"query": query, "start": f"{since:.3f}", "end": f"{time.time():.3f}", "step": f"{step:g}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{PROMETHEUS_URL}/api/v1/query_range", data=parameters) as response,
    ):
        body = await response.json()
    if body["status"] != "success":
        raise RuntimeError(f"{query}: {body.get('error')}")
    found: list[dict[str, Any]] = body["data"]["result"]
    return found


def _ready(found: Object | None) -> int:
    status = (found or {}).get("status", {})
    return int(status.get("readyReplicas", 0))


async def _restart(kube: KubeClient, name: str) -> None:
    change = {
        "spec": {"template": {"metadata": {"annotations": {"iris.mlrelease.dev/restarted": f"{time.time():.3f}"}}}}
    }
    changed = await kube.merge_patch(DEPLOYMENTS, SYSTEM, name, change)
    generation = changed["metadata"]["generation"]

    def restarted(found: Object | None) -> bool:
        status = (found or {}).get("status", {})
        counts = {status.get(which) for which in ("replicas", "updatedReplicas", "readyReplicas")}
        return bool(status.get("observedGeneration", 0) >= generation) and counts == {1}

    await kube.wait_for(DEPLOYMENTS, SYSTEM, name, restarted, READY_SECONDS)
