"""Makes the rollouts on the local cluster, each under traffic of its own, and records them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Final

from bench.aa.manifests import host_of, manifest, version_of
from bench.aa.plan import Case, Group
from bench.aa.record import MachineLoad, Record, record_of
from bench.inference.procfs import Ticks, ticks
from iris_demo import access, counts, judge
from iris_demo.addresses import PREDICT_URL
from iris_demo.judge import UNDECIDED
from iris_demo.kube import KubeClient, connect
from iris_demo.kubeconfig import local_ca_certificate
from iris_demo.load import LoadConfig
from iris_demo.observations import ReleaseObserved
from iris_demo.resources import PODS, RELEASES
from iris_demo.samples import Sample
from iris_demo.traffic import run_load, wait_until_serving
from iris_demo.watch import ReleaseWatcher, watch_release

NAMESPACE: Final = "iris"
ROUTE_SECONDS: Final = 60.0
DEPLOYED_SECONDS: Final = 180.0
REMOVAL_SECONDS: Final = 120.0
# Traffic before a rollout begins, so that stable is as warm as a version that serves.
LEAD_SECONDS: Final = 10.0
# After one, until the pods that it replaced are gone.
SETTLE_SECONDS: Final = 10.0

Log = Callable[[str], None]


class BenchError(Exception):
    """A first version could not be deployed or does not answer, so nothing can be measured."""


@dataclass(frozen=True)
class RunConfig:
    """What to run: the groups, how many of them at the same time, and the kubeconfig of the local cluster."""

    groups: list[Group]
    parallel: int
    kubeconfig: Path


async def run(config: RunConfig, log: Log, record: Callable[[Record], None]) -> None:
    """Make all rollouts; each is handed to ``record`` as soon as it has ended.

    Raises BenchError, and ForeignContextError for another cluster than the local one.
    """
    free = asyncio.Semaphore(config.parallel)
    # No version is used twice: the operator remembers the ones that it rolled back.
    numbers = count(1)
    async with connect(config.kubeconfig) as kube:

        async def run_group(group: Group) -> None:
            async with free:
                await _Rollouts(kube, config.kubeconfig, group, numbers, log).run(record)

        try:
            async with asyncio.TaskGroup() as tasks:
                for group in config.groups:
                    tasks.create_task(run_group(group))
        except ExceptionGroup as failed:
            expected, others = failed.split(BenchError)
            if expected is None or others is not None:
                raise
            raise BenchError("; ".join(str(error) for error in expected.exceptions)) from None


class _Rollouts:
    """The rollouts of one release object."""

    def __init__(self, kube: KubeClient, kubeconfig: Path, group: Group, numbers: Iterator[int], log: Log) -> None:
        self._kube, self._kubeconfig = kube, kubeconfig
        self._group, self._name = group, group.release
        self._numbers, self._log = numbers, log
        self._key = ""
        self._deployed: Case | None = None

    async def run(self, record: Callable[[Record], None]) -> None:
        """Take the group's cases one after the other; the release is deleted afterwards."""
        async with watch_release(self._kube, NAMESPACE, self._name) as watcher:
            try:
                for case in self._group.cases:
                    record(await self._measured(watcher, case))
            finally:
                await self._remove()

    async def _measured(self, watcher: ReleaseWatcher, case: Case) -> Record:
        made = await self._attempt(watcher, case)
        if reason := made.machine.too_busy:
            self._log(f"{case.name}: the machine was too busy ({reason}); once more")
            return replace(await self._attempt(watcher, case), repeated=made)
        return made

    async def _attempt(self, watcher: ReleaseWatcher, case: Case) -> Record:
        await self._deploy(watcher, case)
        version = version_of(number := next(self._numbers))
        self._log(f"{case.name}: {version}, about {case.expected_seconds:.0f} s")
        load = replace(self._load(case), seconds=LEAD_SECONDS + case.limit_seconds + ROUTE_SECONDS)
        load = replace(load, requests=int(load.seconds * load.rate) + 1)
        async with run_load(load) as traffic:
            await asyncio.sleep(LEAD_SECONDS)
            before, applied = machine_ticks(), time.time()
            await self._kube.apply(RELEASES, manifest(self._name, case, number))
            try:
                decided = (await watcher.wait_for(lambda seen: _is_decided(seen, version), case.limit_seconds)).at
            except TimeoutError:
                decided = time.time()
            after = machine_ticks()
        window = (applied, decided)
        machine = machine_load(before, after, counts.between(traffic.samples, *window))
        made = record_of(case, version, watcher.observations, traffic.samples, window, machine)
        self._log(f"{case.name}: {made.outcome} after {made.seconds:.0f} s, {made.reason or 'no reason given'}")
        # A promoted identical version is as good a beginning for the next one; a faulty one is not.
        if made.outcome != judge.ROLLED_BACK and not (case.identical and made.outcome == judge.PROMOTED):
            self._deployed = None
        await asyncio.sleep(SETTLE_SECONDS)
        return made

    async def _deploy(self, watcher: ReleaseWatcher, case: Case) -> None:
        """Deploy what the case begins from, unless the case before has left it there."""
        if self._deployed is not None and _begin_alike(self._deployed, case):
            return
        await self._remove()
        version = version_of(number := next(self._numbers))
        await self._kube.apply(RELEASES, manifest(self._name, case, number, stable=True))
        try:
            await watcher.wait_for(
                lambda seen: seen.release.stable == version and seen.release.phase == "Stable", DEPLOYED_SECONDS
            )
            self._key = await access.create_key(self._kube, self._kubeconfig, NAMESPACE, self._name)
            await wait_until_serving(self._load(case), ROUTE_SECONDS)
        except (TimeoutError, access.KeyCreationError) as error:
            raise BenchError(f"{self._name}: the first version was not deployed: {error!r}") from None
        self._deployed = case

    def _load(self, case: Case) -> LoadConfig:
        return LoadConfig(
            PREDICT_URL,
            host_of(self._name),
            case.rate,
            ROUTE_SECONDS,
            int(ROUTE_SECONDS * case.rate),
            ca_file=str(local_ca_certificate()),
            # A seed of its own: predictions of an earlier rollout may still be in stable's cache and make it faster.
            seed=int(time.time()),
            key=self._key,
        )

    async def _remove(self) -> None:
        self._deployed = None
        await self._kube.delete(RELEASES, NAMESPACE, self._name)
        await self._kube.wait_for(RELEASES, NAMESPACE, self._name, lambda found: found is None, REMOVAL_SECONDS)
        pods = await self._kube.list(PODS, NAMESPACE, labelSelector=f"{access.RELEASE_LABEL}={self._name}")
        for pod in pods:
            name = pod["metadata"]["name"]
            await self._kube.wait_for(PODS, NAMESPACE, name, lambda found: found is None, REMOVAL_SECONDS)


def _begin_alike(before: Case, case: Case) -> bool:
    return (before.replicas, before.stable_fault, before.needs_faulty_image) == (
        case.replicas,
        case.stable_fault,
        case.needs_faulty_image,
    )


def _is_decided(seen: ReleaseObserved, version: str) -> bool:
    return judge.outcome_of(seen.release, version) != UNDECIDED


def machine_ticks() -> list[Ticks]:
    """The counters of every core of this machine, which is the cluster's only node."""
    return [ticks(core) for core in range(os.cpu_count() or 1)]


def machine_load(before: list[Ticks], after: list[Ticks], samples: list[Sample]) -> MachineLoad:
    """How busy all cores were between two readings, and how late the generator sent ``samples``."""
    total = sum(later.total - earlier.total for earlier, later in zip(before, after, strict=True)) or 1
    busy = sum(later.busy - earlier.busy for earlier, later in zip(before, after, strict=True))
    stolen = sum(later.stolen - earlier.stolen for earlier, later in zip(before, after, strict=True))
    late = counts.lateness_quantile(samples, 0.99) or 0.0
    return MachineLoad(idle=(total - busy - stolen) / total, stolen=stolen / total, late_p99=late)
