"""The run itself: traffic, an act's releases one after the other, and what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from pathlib import Path

from iris_demo import access, cost, counts, evidence, judge, pace
from iris_demo.incident import slow_stores
from iris_demo.judge import PROMOTED, ROLLED_BACK, UNDECIDED, Expectation, Report
from iris_demo.kube import DEPLOYMENTS, RELEASES, Kube, Object, connect, local_authority
from iris_demo.load import Load
from iris_demo.observations import ReleaseSeen
from iris_demo.result import Operator, Result
from iris_demo.scenario import Act, interval_seconds
from iris_demo.screen import Screen
from iris_demo.timeline import Tone
from iris_demo.traffic import Traffic, first_answer, traffic
from iris_demo.watch import Watcher, following

# Evidence needs requests, and a slow machine gets few of them a second.
RELEASE_SECONDS = 300.0
INCIDENT_SECONDS = 30
REMOVAL_SECONDS = 90.0
OPERATOR_SECONDS = 180.0
ROUTE_SECONDS = 30.0
SETTLE_SECONDS = 3.0
IDLE_SECONDS = 10.0
# Bounds of the load should the demo itself be stopped from stopping it.
LONGEST_RUN_SECONDS = 1800.0
# Seconds here; days where somebody has to look at the flower.
LABELLED_SHARE = 0.5
PREDICT_URL = "https://127.0.0.1:30443/v1/predict"


@dataclass(frozen=True)
class Plan:
    """What to run: the act's releases in order, whether to go on after a surprise, where pictures go.

    ``rate`` in requests/s; None: as many as suit the machine.
    """

    act: Act
    releases: list[Expectation]
    rate: float | None
    keep_going: bool
    kubeconfig: Path
    pictures: Path


@dataclass
class _Turn:
    """One release's time, Unix seconds."""

    expected: Expectation
    applied: float
    settled: float
    outcome: str


class NotReadyError(Exception):
    """The cluster is not in a state to begin with."""


async def run(plan: Plan, screen: Screen) -> Result:
    """Run the releases and judge them.

    Raises ForeignContextError for another cluster than the local one and NotReadyError when there
    is nothing to begin with: no operator, or no answer through the Ingress.
    """
    first = plan.act.manifest(plan.releases[0].version)
    namespace, name = first["metadata"]["namespace"], first["metadata"]["name"]
    rate = pace.HIGHEST if plan.rate is None else plan.rate
    load = Load(
        url=PREDICT_URL,
        host=first["spec"]["traffic"]["host"],
        rate=rate,
        seconds=LONGEST_RUN_SECONDS,
        requests=int(LONGEST_RUN_SECONDS * rate),
        authority=str(local_authority()),
        # Flowers of its own: answers of an earlier run still are in the cache, and make stable faster than any canary.
        seed=int(time.time()),
        labels=LABELLED_SHARE,
        label_delay=plan.act.label_delay,
    )
    async with connect(plan.kubeconfig) as kube:
        await _start_clean(kube, namespace, name, screen)
        async with following(kube, namespace, name) as watcher:
            watcher.listen(screen.observation)
            with screen.running():
                turns = [await _release(plan, plan.releases[0], kube, watcher, screen)]
                screen.say("key", f"made in a pod of {plan.releases[0].version}, for the traffic", Tone.QUIET)
                load = replace(load, key=await _key(kube, plan.kubeconfig, namespace, name))
                await _in_time(first_answer(load, ROUTE_SECONDS), f"no answer at {load.url} for {load.host}")
                if plan.rate is None:
                    load = replace(load, rate=await _suitable_rate(load, screen))
                async with traffic(load) as running:
                    running.listen(screen.samples)
                    screen.say(
                        "traffic", f"{load.rate:g} requests/s to {load.url}, Host {load.host}; labels for half of them"
                    )
                    # A release that has just ended is not idle yet: its last pass and events are still to be stored.
                    await asyncio.sleep(SETTLE_SECONDS)
                    changes = await cost.idle_changes(kube, namespace, IDLE_SECONDS)
                    turns += await _others(plan, turns[0], kube, watcher, screen)
                    memory = await cost.operator_memory(kube)
            _draw(plan, turns[1:], watcher, screen)
            return _result(plan, turns, watcher, running, screen, Operator(memory, IDLE_SECONDS, changes))


async def _start_clean(kube: Kube, namespace: str, name: str, screen: Screen) -> None:
    """Wait for the operator and remove what an earlier run left, so that 1.0.0 is a first deployment."""
    ready = kube.until(DEPLOYMENTS, cost.OPERATOR_NAMESPACE, "iris-operator", _available, OPERATOR_SECONDS)
    await _in_time(ready, "the operator is not running")
    if await kube.get(RELEASES, namespace, name) is not None:
        screen.say("cluster", f"removing the release {name} of an earlier run", Tone.QUIET)
        await kube.delete(RELEASES, namespace, name)
        removed = kube.until(RELEASES, namespace, name, lambda found: found is None, REMOVAL_SECONDS)
        await _in_time(removed, "the release of an earlier run is not going away")


async def _key(kube: Kube, kubeconfig: Path, namespace: str, release: str) -> str:
    try:
        return await access.new_key(kube, kubeconfig, namespace, release)
    except (access.NoKeyError, TimeoutError) as error:
        raise NotReadyError(str(error) or f"no pod of {release} is ready") from None


async def _suitable_rate(load: Load, screen: Screen) -> float:
    try:
        seconds = await pace.answer_seconds(load)
    except pace.NoPredictionError as error:
        raise NotReadyError(str(error)) from None
    screen.say("pace", f"an answer takes {seconds * 1000:.1f} ms while nothing else is asked", Tone.QUIET)
    return pace.suitable(seconds)


async def _in_time(awaited: Awaitable[object], otherwise: str) -> None:
    try:
        await awaited
    except TimeoutError:
        raise NotReadyError(otherwise) from None


def _available(deployment: Object | None) -> bool:
    return bool((deployment or {}).get("status", {}).get("availableReplicas"))


async def _others(plan: Plan, first: _Turn, kube: Kube, watcher: Watcher, screen: Screen) -> list[_Turn]:
    turns: list[_Turn] = []
    previous = first
    for expected in plan.releases[1:]:
        if previous.outcome != previous.expected.outcome and not plan.keep_going:
            screen.say("demo", "stopping here; --keep-going would go on", Tone.BAD)
            break
        previous = await _release(plan, expected, kube, watcher, screen)
        turns.append(previous)
    return turns


async def _release(plan: Plan, expected: Expectation, kube: Kube, watcher: Watcher, screen: Screen) -> _Turn:
    version = expected.version
    screen.say("apply", f"{plan.act.folder}/{version}.yaml: {expected.title}; should end {expected.outcome}")
    applied = time.time()
    await kube.apply(RELEASES, plan.act.manifest(version))
    try:
        if expected.incident:
            await watcher.until(
                lambda seen: seen.release.canary == version and seen.release.weight > 0, RELEASE_SECONDS
            )
            await _incident(plan, watcher.namespace, screen)
        seen = await watcher.until(lambda seen: _decided(seen, version), RELEASE_SECONDS)
    except TimeoutError:
        screen.say("result", f"{version} undecided after {RELEASE_SECONDS:.0f} s", Tone.BAD)
        return _Turn(expected, applied, time.time(), UNDECIDED)
    outcome = judge.outcome_of(seen.release, version)
    tone = Tone.GOOD if outcome == expected.outcome else Tone.BAD
    screen.say(
        "result", f"{version} {outcome} after {seen.at - applied:.1f} s: {judge.reason_of(seen.release, version)}", tone
    )
    return _Turn(expected, applied, seen.at, outcome)


async def _incident(plan: Plan, namespace: str, screen: Screen) -> None:
    screen.say("incident", f"PostgreSQL and Redis are slow for both versions, for {INCIDENT_SECONDS} s", Tone.BAD)
    await slow_stores(plan.kubeconfig, namespace, INCIDENT_SECONDS)
    screen.say("incident", "over: both stores answer as before", Tone.GOOD)


def _decided(seen: ReleaseSeen, version: str) -> bool:
    return judge.outcome_of(seen.release, version) in {PROMOTED, ROLLED_BACK}


def _draw(plan: Plan, turns: list[_Turn], watcher: Watcher, screen: Screen) -> None:
    for turn in turns:
        version = turn.expected.version
        path = plan.pictures / f"evidence-{version}.png"
        try:
            if evidence.write(watcher.observations, version, turn.applied, turn.settled, path):
                screen.say("evidence", f"{version}: {path}", Tone.QUIET)
        except evidence.NotDrawnError as error:
            # What was seen is worth more than its picture: the result is still to be written.
            screen.say("evidence", f"{version} was not drawn: {error}", Tone.BAD)


def _result(
    plan: Plan, turns: list[_Turn], watcher: Watcher, running: Traffic, screen: Screen, operator: Operator
) -> Result:
    samples = running.samples
    ended = time.time()
    reports: list[Report] = []
    # A release answers for every request from its start to the start of the next one.
    for turn, until in zip(turns, [turn.applied for turn in turns[1:]] + [ended], strict=True):
        interval = interval_seconds(plan.act.manifest(turn.expected.version))
        mine = counts.between(samples, turn.applied, until)
        reports.append(judge.report(turn.expected, watcher.observations, mine, turn.applied, turn.settled, interval))
    return Result(
        started=screen.started,
        seconds=ended - screen.started,
        rate=running.load.rate,
        wanted=len(plan.releases),
        reports=tuple(reports),
        requests=counts.totals(samples),
        labels=counts.labels_by_version(running.labels),
        unexplained=sum(report.unexplained for report in reports),
        history=tuple(counts.per_second(samples, screen.started)),
        operator=operator,
    )
