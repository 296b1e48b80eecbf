"""Records every stored state of the objects of one release."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from iris_demo.kube import KubeClient
from iris_demo.resources import DEPLOYMENTS, ENDPOINT_SLICES, INGRESSES, PODS, RELEASES, SERVICES, Resource
from support.e2e.invariants import SERVICE_OF_SLICE, Entry

RECORDED = (RELEASES, INGRESSES, SERVICES, ENDPOINT_SLICES, DEPLOYMENTS, PODS)


class Recorder:
    """The history so far, in the order in which the watches reported it."""

    def __init__(self, kube: KubeClient, namespace: str, release: str) -> None:
        self.entries: list[Entry] = []
        self._kube, self._namespace, self._release = kube, namespace, release

    async def follow(self) -> None:
        async with asyncio.TaskGroup() as watches:
            for resource in RECORDED:
                watches.create_task(self._record(resource))

    async def _record(self, resource: Resource) -> None:
        async for change in self._kube.watch(resource, self._namespace):
            meta = change.object["metadata"]
            owner = meta.get("labels", {}).get(SERVICE_OF_SLICE, meta["name"])
            if owner == self._release or owner.startswith(f"{self._release}-"):
                stored = None if change.type == "DELETED" else change.object
                self.entries.append(
                    Entry(int(meta["resourceVersion"]), time.time(), resource.plural, meta["name"], stored)
                )


@asynccontextmanager
async def recording(kube: KubeClient, namespace: str, release: str) -> AsyncIterator[Recorder]:
    """A recorder that runs for the duration of the block; raises when one of its watches failed."""
    recorder = Recorder(kube, namespace, release)
    task = asyncio.create_task(recorder.follow())
    try:
        yield recorder
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
