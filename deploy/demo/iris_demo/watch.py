"""Watches one release: its status, its canary Ingress and the events about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from iris_demo.kube import KubeClient, Object, WatchEvent
from iris_demo.observations import (
    EventObserved,
    Observation,
    ReleaseObserved,
    RouteObserved,
    canary_weight,
    event_time,
    release_of,
)
from iris_demo.resources import EVENTS, INGRESSES, RELEASES, Resource


class ReleaseWatcher:
    """Observations of a release in the order in which they arrived."""

    def __init__(self, kube: KubeClient, namespace: str, name: str) -> None:
        self.observations: list[Observation] = []
        self.namespace = namespace
        self._kube, self._name = kube, name
        self._listeners: list[Callable[[Observation], None]] = []
        self._updated = asyncio.Condition()
        self._failure: BaseException | None = None

    def listen(self, listener: Callable[[Observation], None]) -> None:
        """Call ``listener`` with every further observation."""
        self._listeners.append(listener)

    async def wait_for(self, condition: Callable[[ReleaseObserved], bool], seconds: float) -> ReleaseObserved:
        """Wait for a status, the newest one included, for which ``holds`` is true.

        Raises TimeoutError after ``seconds`` and RuntimeError when the watch itself failed.
        """
        async with asyncio.timeout(seconds), self._updated:
            while True:
                if self._failure is not None:
                    raise RuntimeError("the watch failed") from self._failure
                newest = next((seen for seen in reversed(self.observations) if isinstance(seen, ReleaseObserved)), None)
                if newest is not None and condition(newest):
                    return newest
                await self._updated.wait()

    async def run(self) -> None:
        """Watch until cancelled; when it ends otherwise, `wait_for` raises."""
        try:
            async with asyncio.TaskGroup() as watches:
                watches.create_task(self._watch(RELEASES, self._name, _release_observed))
                watches.create_task(self._watch(INGRESSES, f"{self._name}-canary", _route_observed))
                watches.create_task(self._watch_events())
        except ExceptionGroup as broken:
            async with self._updated:
                self._failure = broken
                self._updated.notify_all()

    async def _watch(
        self, resource: Resource, name: str, read: Callable[[float, WatchEvent], Observation | None]
    ) -> None:
        async for change in self._kube.watch(resource, self.namespace, fieldSelector=f"metadata.name={name}"):
            await self._add(read(time.time(), change))

    async def _watch_events(self) -> None:
        started = datetime.fromtimestamp(time.time(), UTC).isoformat()
        about = f"involvedObject.kind=IrisModelRelease,involvedObject.name={self._name}"
        async for change in self._kube.watch(EVENTS, self.namespace, fieldSelector=about):
            # The API server keeps events of earlier runs for an hour and lists them first.
            if change.type != "DELETED" and event_time(change.object) >= started[:19]:
                await self._add(_event_observed(time.time(), change.object))

    async def _add(self, observation: Observation | None) -> None:
        if observation is None:
            return
        self.observations.append(observation)
        for listener in self._listeners:
            listener(observation)
        async with self._updated:
            self._updated.notify_all()


@asynccontextmanager
async def watch_release(kube: KubeClient, namespace: str, name: str) -> AsyncIterator[ReleaseWatcher]:
    """A watcher that runs for the duration of the block."""
    watcher = ReleaseWatcher(kube, namespace, name)
    task = asyncio.create_task(watcher.run())
    try:
        yield watcher
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _release_observed(at: float, change: WatchEvent) -> Observation | None:
    return None if change.type == "DELETED" else ReleaseObserved(at, release_of(change.object))


def _route_observed(at: float, change: WatchEvent) -> Observation:
    return RouteObserved(at, canary_weight(None if change.type == "DELETED" else change.object))


def _event_observed(at: float, event: Object) -> Observation:
    return EventObserved(at, event.get("type") or "Normal", event.get("reason") or "", event.get("message") or "")
