"""Follows one release: its status, its canary Ingress and the events about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from iris_demo.kube import EVENTS, INGRESSES, RELEASES, Change, Kube, Object, Resource
from iris_demo.observations import EventSeen, Observation, ReleaseSeen, RouteSeen, canary_weight, last_seen, release_of


class Watcher:
    """Observations of a release in the order in which they arrived."""

    def __init__(self, kube: Kube, namespace: str, name: str) -> None:
        self.observations: list[Observation] = []
        self.namespace = namespace
        self._kube, self._name = kube, name
        self._listeners: list[Callable[[Observation], None]] = []
        self._news = asyncio.Condition()
        self._broken: BaseException | None = None

    def listen(self, listener: Callable[[Observation], None]) -> None:
        """Call ``listener`` with every further observation."""
        self._listeners.append(listener)

    async def until(self, holds: Callable[[ReleaseSeen], bool], seconds: float) -> ReleaseSeen:
        """Wait for a status, the newest one included, for which ``holds`` is true.

        Raises TimeoutError after ``seconds`` and RuntimeError when the watch itself broke.
        """
        async with asyncio.timeout(seconds), self._news:
            while True:
                if self._broken is not None:
                    raise RuntimeError("the watch broke") from self._broken
                newest = next((seen for seen in reversed(self.observations) if isinstance(seen, ReleaseSeen)), None)
                if newest is not None and holds(newest):
                    return newest
                await self._news.wait()

    async def follow(self) -> None:
        """Watch until cancelled; whoever waits in `until` learns when that ends otherwise."""
        try:
            async with asyncio.TaskGroup() as watches:
                watches.create_task(self._watch(RELEASES, self._name, _release_seen))
                watches.create_task(self._watch(INGRESSES, f"{self._name}-canary", _route_seen))
                watches.create_task(self._watch_events())
        except ExceptionGroup as broken:
            async with self._news:
                self._broken = broken
                self._news.notify_all()

    async def _watch(self, resource: Resource, name: str, read: Callable[[float, Change], Observation | None]) -> None:
        async for change in self._kube.watch(resource, self.namespace, fieldSelector=f"metadata.name={name}"):
            await self._add(read(time.time(), change))

    async def _watch_events(self) -> None:
        started = datetime.fromtimestamp(time.time(), UTC).isoformat()
        about = f"involvedObject.kind=IrisModelRelease,involvedObject.name={self._name}"
        async for change in self._kube.watch(EVENTS, self.namespace, fieldSelector=about):
            # Events of earlier runs are kept for an hour and are listed first.
            if change.type != "DELETED" and last_seen(change.object) >= started[:19]:
                await self._add(_event_seen(time.time(), change.object))

    async def _add(self, observation: Observation | None) -> None:
        if observation is None:
            return
        self.observations.append(observation)
        for listener in self._listeners:
            listener(observation)
        async with self._news:
            self._news.notify_all()


@asynccontextmanager
async def following(kube: Kube, namespace: str, name: str) -> AsyncIterator[Watcher]:
    """A watcher that runs for the length of the block."""
    watcher = Watcher(kube, namespace, name)
    task = asyncio.create_task(watcher.follow())
    try:
        yield watcher
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _release_seen(at: float, change: Change) -> Observation | None:
    return None if change.type == "DELETED" else ReleaseSeen(at, release_of(change.object))


def _route_seen(at: float, change: Change) -> Observation:
    return RouteSeen(at, canary_weight(None if change.type == "DELETED" else change.object))


def _event_seen(at: float, event: Object) -> Observation:
    return EventSeen(at, event.get("type") or "Normal", event.get("reason") or "", event.get("message") or "")
