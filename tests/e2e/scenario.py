"""One release on the real cluster with everything that watches it, from its first apply to its removal."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from e2e.invariants import violations
from e2e.recorder import Recorder, recording
from e2e.releases import ROLLBACK_SECONDS, release, renamed
from iris_demo import counts, pace
from iris_demo.access import RELEASE_LABEL, new_key
from iris_demo.kube import (
    DEPLOYMENTS,
    INGRESSES,
    PODS,
    RELEASES,
    SERVICES,
    Kube,
    Object,
    Resource,
    connect,
    local_authority,
)
from iris_demo.load import Load
from iris_demo.observations import Observation, ReleaseSeen, RouteSeen
from iris_demo.samples import Sample
from iris_demo.scenario import Act
from iris_demo.story import PREDICT_URL
from iris_demo.timeline import Timeline
from iris_demo.traffic import Traffic, first_answer, traffic
from iris_demo.watch import Watcher, following

NAMESPACE = "iris"
# Requests/s. The slow model of the scenarios manages about 15 a second on a busy machine with two cores, and a fifth of
# these has to be well below that: what it answers late is to be seen as latency and not as a full queue.
RATE = 30.0
LONGEST_SECONDS = 420.0
REMOVAL_SECONDS = 90.0


@dataclass
class Scenario:
    """What given, when and then work on."""

    kube: Kube
    name: str
    kubeconfig: Path
    watcher: Watcher
    recorder: Recorder
    stack: AsyncExitStack
    started: float
    running: Traffic | None = None
    serving: dict[str, Any] = field(default_factory=dict)
    copies: int = 0
    applied: float = field(default_factory=time.time)
    key: str = ""
    act: Act | None = None
    rate: float = RATE
    labels: float = 0.0
    flowers: int = 0

    @property
    def host(self) -> str:
        """The host name of its requests."""
        return f"{self.name}.example.com"

    @property
    def load(self) -> Load:
        """The scenario's background load."""
        requests, authority = int(self.rate * LONGEST_SECONDS), str(local_authority())
        load = Load(PREDICT_URL, self.host, self.rate, LONGEST_SECONDS, requests, authority=authority, key=self.key)
        # Flowers of its own: answers to an earlier scenario's still are in the cache, and make stable fast.
        load = replace(load, seed=int(self.started), labels=self.labels, flowers=self.flowers)
        return replace(load, label_delay=self.act.label_delay) if self.act else load

    def manifest(self, version: str, image_version: str = "") -> Object:
        """The release at a version, as the scenario wants it."""
        if self.act is None:
            return release(self.name, version, image_version, copies=self.copies, **self.serving)
        return renamed(self.act.manifest(version), self.name)

    async def start_traffic(self) -> None:
        """Wait for the route and then load it until the end of the scenario."""
        self.key = await new_key(self.kube, self.kubeconfig, NAMESPACE, self.name)
        await first_answer(self.load, seconds=30)
        if self.act:
            self.rate = pace.suitable(await pace.answer_seconds(self.load))
        self.running = await self.stack.enter_async_context(traffic(self.load))

    async def traffic_ended(self) -> Traffic:
        """The load, stopped, with every answer counted."""
        if self.running is None:
            raise RuntimeError("this scenario has no traffic: begin with given.traffic()")
        await self.running.stop()
        return self.running

    def describe(self, sample: Sample) -> str:
        """A request in words, with its times on the clock of the printed timeline."""
        due, ended = sample.scheduled - self.started, sample.finished - self.started
        return f"due {due:.2f} s, ended {ended:.2f} s: {counts.failure_name(sample)} {sample.version or 'no version'}"

    def seen(self) -> list[ReleaseSeen]:
        """The statuses since the last apply."""
        return [s for s in self.watcher.observations if isinstance(s, ReleaseSeen) and s.at >= self.applied]

    def weights(self) -> list[RouteSeen]:
        """The changes of the route's weight since the last apply."""
        changes, weight = [], 0
        for seen in self.watcher.observations:
            if isinstance(seen, RouteSeen) and seen.weight != weight:
                weight = seen.weight
                if seen.at >= self.applied:
                    changes.append(seen)
        return changes


@asynccontextmanager
async def scenario(kubeconfig: Path, name: str) -> AsyncIterator[Scenario]:
    """A clean place for a release called ``name``; its invariants are checked at the end.

    Whatever happens, the release and its pods are gone afterwards.
    """
    async with connect(kubeconfig) as kube:
        await remove(kube, name)
        try:
            async with (
                following(kube, NAMESPACE, name) as watcher,
                recording(kube, NAMESPACE, name) as recorder,
                AsyncExitStack() as stack,
            ):
                started = time.time()
                watcher.listen(_Narrator(started).tell)
                yield Scenario(kube, name, kubeconfig, watcher, recorder, stack, started)
            broken = violations(recorder.entries, name, ROLLBACK_SECONDS)
            assert not broken, "\n".join(broken)
            assert recorder.entries, "nothing was recorded, so nothing was checked"
        finally:
            await remove(kube, name)


async def remove(kube: Kube, name: str) -> None:
    """Delete the release and wait until none of its objects is left."""
    await kube.delete(RELEASES, NAMESPACE, name)
    await kube.until(RELEASES, NAMESPACE, name, lambda found: found is None, REMOVAL_SECONDS)
    for resource in (INGRESSES, SERVICES, DEPLOYMENTS, PODS):
        await all_gone(kube, resource, name)


async def all_gone(kube: Kube, resource: Resource, name: str) -> None:
    """Wait until the garbage collector has taken every object of that kind that belonged to the release."""
    mine = await kube.list(resource, NAMESPACE, labelSelector=f"{RELEASE_LABEL}={name}")
    for item in mine:
        await kube.until(resource, NAMESPACE, item["metadata"]["name"], lambda found: found is None, REMOVAL_SECONDS)


class _Narrator:
    """Prints the timeline; pytest shows it for a scenario that failed."""

    def __init__(self, started: float) -> None:
        self._timeline, self._started = Timeline(), started

    def tell(self, seen: Observation) -> None:
        for line in self._timeline.add(seen):
            # What pytest captures is what it shows of a scenario that failed.
            print(f"{line.at - self._started:7.2f} s  {line.subject:<8} {line.text}")  # noqa: T201 - see above
