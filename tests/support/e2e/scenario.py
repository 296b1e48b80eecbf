"""One release on the real cluster, observed from its first apply to its deletion."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from iris_demo import calibrate_rate, counts
from iris_demo.access import RELEASE_LABEL, create_key
from iris_demo.addresses import PREDICT_URL
from iris_demo.kube import KubeClient, Object, connect
from iris_demo.kubeconfig import local_ca_certificate
from iris_demo.load import LoadConfig
from iris_demo.observations import Observation, ReleaseObserved, RouteObserved
from iris_demo.resources import DEPLOYMENTS, INGRESSES, PODS, RELEASES, SERVICES, Resource
from iris_demo.samples import Sample
from iris_demo.scenario import DemoScenario
from iris_demo.timeline import Timeline
from iris_demo.traffic import Traffic, run_load, wait_until_serving
from iris_demo.watch import ReleaseWatcher, watch_release
from support.e2e.invariants import violations
from support.e2e.recorder import Recorder, recording
from support.e2e.releases import ROLLBACK_SECONDS, release, renamed
from support.e2e.steps import steps_taken

NAMESPACE = "iris"
# Requests/s. With the default margins a step needs some 200 to 400 requests of the canary, which has a fifth and then
# half of these.
RATE = 60.0
LONGEST_SECONDS = 600.0
REMOVAL_SECONDS = 90.0
# Of the names of the scenarios' releases.
PREFIX = "e2e-"
OWNED = (INGRESSES, SERVICES, DEPLOYMENTS, PODS)


@dataclass
class Scenario:
    """The state that Given, When and Then share."""

    kube: KubeClient
    name: str
    kubeconfig: Path
    watcher: ReleaseWatcher
    recorder: Recorder
    exit_stack: AsyncExitStack
    started_at: float
    traffic: Traffic | None = None
    serving: dict[str, Any] = field(default_factory=dict)
    shadow_percent: int = 0
    control: str = ""
    applied_at: float = field(default_factory=time.time)
    key: str = ""
    demo_scenario: DemoScenario | None = None
    rate: float = RATE
    labels: float = 0.0
    instances: int = 0

    @property
    def host(self) -> str:
        """The host name of its requests."""
        return f"{self.name}.example.com"

    @property
    def load(self) -> LoadConfig:
        """The scenario's background load."""
        requests, authority = int(self.rate * LONGEST_SECONDS), str(local_ca_certificate())
        load = LoadConfig(PREDICT_URL, self.host, self.rate, LONGEST_SECONDS, requests, ca_file=authority, key=self.key)
        # A seed of its own: predictions of an earlier scenario may still be in stable's cache and make it faster.
        load = replace(load, seed=int(self.started_at), labels=self.labels, instances=self.instances)
        return replace(load, label_delay=self.demo_scenario.label_delay) if self.demo_scenario else load

    def manifest(self, version: str, image_version: str = "") -> Object:
        """The release at a version, with the scenario's settings."""
        if self.demo_scenario is None:
            return release(
                self.name,
                version,
                image_version,
                shadow_percent=self.shadow_percent,
                control=self.control,
                **self.serving,
            )
        return renamed(self.demo_scenario.manifest(version), self.name)

    async def start_traffic(self) -> None:
        """Wait for the route and then load it until the end of the scenario."""
        self.key = await create_key(self.kube, self.kubeconfig, NAMESPACE, self.name)
        await wait_until_serving(self.load, seconds=30)
        if self.demo_scenario:
            self.rate = calibrate_rate.rate_for(await calibrate_rate.median_response_seconds(self.load))
        self.traffic = await self.exit_stack.enter_async_context(run_load(self.load))

    async def stop_traffic(self) -> Traffic:
        """Stop the load and count every response."""
        if self.traffic is None:
            raise RuntimeError("this scenario has no traffic: begin with given.traffic()")
        await self.traffic.stop()
        return self.traffic

    def describe(self, sample: Sample) -> str:
        """A request as text, with times relative to the printed timeline."""
        due, ended = sample.scheduled - self.started_at, sample.finished - self.started_at
        return f"due {due:.2f} s, ended {ended:.2f} s: {counts.failure_name(sample)} {sample.version or 'no version'}"

    def release_observations(self) -> list[ReleaseObserved]:
        """The statuses since the last apply."""
        return [s for s in self.watcher.observations if isinstance(s, ReleaseObserved) and s.at >= self.applied_at]

    def steps_taken(self) -> list[int]:
        """The steps' weights in the order in which the canary got them since the last apply, and 0 when it lost all."""
        any_version = self.demo_scenario.releases[0].version if self.demo_scenario else "1.0.0"
        weights = [step.get("weight", 0) for step in self.manifest(any_version)["spec"]["rollout"]["steps"]]
        return steps_taken(self.watcher.observations, weights, self.applied_at)

    def weight_changes(self) -> list[RouteObserved]:
        """The changes of the route's weight since the last apply."""
        changes, weight = [], 0
        for observation in self.watcher.observations:
            if isinstance(observation, RouteObserved) and observation.weight != weight:
                weight = observation.weight
                if observation.at >= self.applied_at:
                    changes.append(observation)
        return changes


@asynccontextmanager
async def run_scenario(kubeconfig: Path, name: str) -> AsyncIterator[Scenario]:
    """Run a scenario with a release called ``name``; its invariants are checked at the end.

    The release is always deleted afterwards; its pods may still be shutting down: see `wait_until_all_deleted`.
    """
    async with connect(kubeconfig) as kube:
        await delete_and_wait(kube, name)
        try:
            async with (
                watch_release(kube, NAMESPACE, name) as watcher,
                recording(kube, NAMESPACE, name) as recorder,
                AsyncExitStack() as stack,
            ):
                started = time.time()
                watcher.listen(_TimelinePrinter(started).show)
                yield Scenario(kube, name, kubeconfig, watcher, recorder, stack, started)
            broken = violations(recorder.entries, name, ROLLBACK_SECONDS)
            assert not broken, "\n".join(broken)
            assert recorder.entries, "nothing was recorded, so nothing was checked"
        finally:
            # Its pods finish their last requests, which the next scenario need not wait for.
            await delete(kube, name)


async def delete(kube: KubeClient, name: str) -> None:
    """Delete the release and wait until the operator has removed its finalizer."""
    await kube.delete(RELEASES, NAMESPACE, name)
    await kube.wait_for(RELEASES, NAMESPACE, name, lambda found: found is None, REMOVAL_SECONDS)


async def delete_and_wait(kube: KubeClient, name: str) -> None:
    """Delete the release and wait until none of its objects is left."""
    await delete(kube, name)
    for resource in OWNED:
        await wait_until_deleted(kube, resource, name)


async def wait_until_all_deleted(kubeconfig: Path) -> None:
    """Wait until none of the objects of scenarios that have ended is left."""
    async with connect(kubeconfig) as kube:
        for resource in OWNED:
            found = await kube.list(resource, NAMESPACE, labelSelector=RELEASE_LABEL)
            releases = {item["metadata"]["labels"][RELEASE_LABEL] for item in found}
            for name in releases:
                if name.startswith(PREFIX):
                    await wait_until_deleted(kube, resource, name)


async def wait_until_deleted(kube: KubeClient, resource: Resource, name: str) -> None:
    """Wait until the garbage collector has deleted every object of that kind that belonged to the release."""
    objects = await kube.list(resource, NAMESPACE, labelSelector=f"{RELEASE_LABEL}={name}")
    for item in objects:
        await kube.wait_for(resource, NAMESPACE, item["metadata"]["name"], lambda found: found is None, REMOVAL_SECONDS)


class _TimelinePrinter:
    """Prints the timeline; pytest shows it for a scenario that failed."""

    def __init__(self, started: float) -> None:
        self._timeline, self._started = Timeline(), started

    def show(self, seen: Observation) -> None:
        for line in self._timeline.add(seen):
            # What pytest captures is what it shows of a scenario that failed.
            print(f"{line.at - self._started:7.2f} s  {line.subject:<8} {line.text}")  # noqa: T201 - see above
