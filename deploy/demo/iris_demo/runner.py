"""Runs a scenario: its releases one after the other under traffic, and the result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from pathlib import Path

from iris_demo import access, calibrate_rate, cost, counts, evidence, judge
from iris_demo.addresses import PREDICT_URL
from iris_demo.incident import slow_down_stores
from iris_demo.judge import PROMOTED, ROLLED_BACK, UNDECIDED, Expectation, ReleaseReport
from iris_demo.kube import KubeClient, Object, connect
from iris_demo.kubeconfig import local_ca_certificate
from iris_demo.load import LoadConfig
from iris_demo.observations import ReleaseObserved
from iris_demo.resources import DEPLOYMENTS, RELEASES
from iris_demo.result import DemoResult, OperatorCost
from iris_demo.scenario import DemoScenario, interval_seconds
from iris_demo.terminal import Terminal
from iris_demo.timeline import Tone
from iris_demo.traffic import Traffic, run_load, wait_until_serving
from iris_demo.watch import ReleaseWatcher, watch_release

# Evidence needs some hundred requests of the canary in each step, and a slow machine handles few of them a second.
RELEASE_SECONDS = 480.0
INCIDENT_SECONDS = 30
REMOVAL_SECONDS = 90.0
OPERATOR_SECONDS = 180.0
ROUTE_SECONDS = 30.0
SETTLE_SECONDS = 3.0
IDLE_SECONDS = 10.0
# Bounds the load in case the demo is killed before it can stop it.
LONGEST_RUN_SECONDS = 3600.0
LABELLED_SHARE = 0.5


@dataclass(frozen=True)
class DemoConfig:
    """What to run: the scenario's releases in order, whether to go on after an unexpected outcome, where plots go.

    ``rate`` in requests/s; None: calibrated for the machine.
    """

    scenario: DemoScenario
    releases: list[Expectation]
    rate: float | None
    keep_going: bool
    kubeconfig: Path
    plot_dir: Path


@dataclass
class _ReleaseRun:
    """One release with its outcome; times are Unix seconds."""

    expected: Expectation
    applied: float
    decided: float
    outcome: str


class NotReadyError(Exception):
    """The cluster is not ready for a run."""


async def run(config: DemoConfig, terminal: Terminal) -> DemoResult:
    """Run the releases and judge them.

    Raises ForeignContextError for another cluster than the local one, and NotReadyError without an
    operator or without a response through the Ingress.
    """
    first = config.scenario.manifest(config.releases[0].version)
    namespace, name = first["metadata"]["namespace"], first["metadata"]["name"]
    rate = calibrate_rate.HIGHEST_RATE if config.rate is None else config.rate
    load = LoadConfig(
        url=PREDICT_URL,
        host=first["spec"]["traffic"]["host"],
        rate=rate,
        seconds=LONGEST_RUN_SECONDS,
        requests=int(LONGEST_RUN_SECONDS * rate),
        ca_file=str(local_ca_certificate()),
        # A seed of its own: predictions of an earlier run may still be in stable's cache and make it faster.
        seed=int(time.time()),
        labels=LABELLED_SHARE,
        label_delay=config.scenario.label_delay,
    )
    async with connect(config.kubeconfig) as kube:
        await _remove_earlier_release(kube, namespace, name, terminal)
        async with watch_release(kube, namespace, name) as watcher:
            watcher.listen(terminal.show_observation)
            with terminal.live_panel():
                runs = [await _run_release(config, config.releases[0], kube, watcher, terminal)]
                terminal.log("key", f"created in a pod of {config.releases[0].version}, for the traffic", Tone.QUIET)
                load = replace(load, key=await _create_key(kube, config.kubeconfig, namespace, name))
                await _or_not_ready(
                    wait_until_serving(load, ROUTE_SECONDS), f"no response at {load.url} for {load.host}"
                )
                if config.rate is None:
                    load = replace(load, rate=await _calibrated_rate(load, terminal))
                async with run_load(load) as running:
                    running.listen(terminal.count_samples)
                    terminal.log(
                        "traffic", f"{load.rate:g} requests/s to {load.url}, Host {load.host}; labels for half of them"
                    )
                    # A release that was just decided is not idle yet: its last status and events are still written.
                    await asyncio.sleep(SETTLE_SECONDS)
                    changes = await cost.changes_while_idle(kube, namespace, IDLE_SECONDS)
                    runs += await _run_remaining(config, runs[0], kube, watcher, terminal)
                    memory = await cost.operator_memory(kube)
            _plot_evidence(config, runs[1:], watcher, terminal)
            return _result(config, runs, watcher, running, terminal, OperatorCost(memory, IDLE_SECONDS, changes))


async def _remove_earlier_release(kube: KubeClient, namespace: str, name: str, terminal: Terminal) -> None:
    """Wait for the operator and remove what an earlier run left, so that 1.0.0 is a first deployment."""
    ready = kube.wait_for(DEPLOYMENTS, cost.OPERATOR_NAMESPACE, "iris-operator", _available, OPERATOR_SECONDS)
    await _or_not_ready(ready, "the operator is not running")
    if await kube.get(RELEASES, namespace, name) is not None:
        terminal.log("cluster", f"removing the release {name} of an earlier run", Tone.QUIET)
        await kube.delete(RELEASES, namespace, name)
        removed = kube.wait_for(RELEASES, namespace, name, lambda found: found is None, REMOVAL_SECONDS)
        await _or_not_ready(removed, "the release of an earlier run is not going away")


async def _create_key(kube: KubeClient, kubeconfig: Path, namespace: str, release: str) -> str:
    try:
        return await access.create_key(kube, kubeconfig, namespace, release)
    except (access.KeyCreationError, TimeoutError) as error:
        raise NotReadyError(str(error) or f"no pod of {release} is ready") from None


async def _calibrated_rate(load: LoadConfig, terminal: Terminal) -> float:
    try:
        seconds = await calibrate_rate.median_response_seconds(load)
    except calibrate_rate.CalibrationError as error:
        raise NotReadyError(str(error)) from None
    terminal.log("rate", f"a response takes {seconds * 1000:.1f} ms without other traffic", Tone.QUIET)
    return calibrate_rate.rate_for(seconds)


async def _or_not_ready(awaited: Awaitable[object], message: str) -> None:
    try:
        await awaited
    except TimeoutError:
        raise NotReadyError(message) from None


def _available(deployment: Object | None) -> bool:
    return bool((deployment or {}).get("status", {}).get("availableReplicas"))


async def _run_remaining(
    config: DemoConfig, first: _ReleaseRun, kube: KubeClient, watcher: ReleaseWatcher, terminal: Terminal
) -> list[_ReleaseRun]:
    runs: list[_ReleaseRun] = []
    previous = first
    for expected in config.releases[1:]:
        if previous.outcome != previous.expected.outcome and not config.keep_going:
            terminal.log("demo", "stopping here; --keep-going would go on", Tone.BAD)
            break
        previous = await _run_release(config, expected, kube, watcher, terminal)
        runs.append(previous)
    return runs


async def _run_release(
    config: DemoConfig, expected: Expectation, kube: KubeClient, watcher: ReleaseWatcher, terminal: Terminal
) -> _ReleaseRun:
    version = expected.version
    terminal.log("apply", f"{config.scenario.folder}/{version}.yaml: {expected.title}; expected: {expected.outcome}")
    applied = time.time()
    await kube.apply(RELEASES, config.scenario.manifest(version))
    try:
        if expected.incident:
            await watcher.wait_for(
                lambda seen: seen.release.canary == version and seen.release.weight > 0, RELEASE_SECONDS
            )
            await _cause_incident(config, watcher.namespace, terminal)
        seen = await watcher.wait_for(lambda seen: _is_decided(seen, version), RELEASE_SECONDS)
    except TimeoutError:
        terminal.log("result", f"{version} undecided after {RELEASE_SECONDS:.0f} s", Tone.BAD)
        return _ReleaseRun(expected, applied, time.time(), UNDECIDED)
    outcome = judge.outcome_of(seen.release, version)
    tone = Tone.GOOD if outcome == expected.outcome else Tone.BAD
    terminal.log(
        "result", f"{version} {outcome} after {seen.at - applied:.1f} s: {judge.reason_of(seen.release, version)}", tone
    )
    return _ReleaseRun(expected, applied, seen.at, outcome)


async def _cause_incident(config: DemoConfig, namespace: str, terminal: Terminal) -> None:
    terminal.log("incident", f"PostgreSQL and Redis are slow for both versions, for {INCIDENT_SECONDS} s", Tone.BAD)
    await slow_down_stores(config.kubeconfig, namespace, INCIDENT_SECONDS)
    terminal.log("incident", "over: both stores answer as before", Tone.GOOD)


def _is_decided(seen: ReleaseObserved, version: str) -> bool:
    return judge.outcome_of(seen.release, version) in {PROMOTED, ROLLED_BACK}


def _plot_evidence(config: DemoConfig, runs: list[_ReleaseRun], watcher: ReleaseWatcher, terminal: Terminal) -> None:
    for run in runs:
        version = run.expected.version
        path = config.plot_dir / f"evidence-{version}.png"
        try:
            if evidence.write_plot(watcher.observations, version, run.applied, run.decided, path):
                terminal.log("evidence", f"{version}: {path}", Tone.QUIET)
        except evidence.PlotError as error:
            # A missing plot must not prevent the result from being written.
            terminal.log("evidence", f"{version} was not plotted: {error}", Tone.BAD)


def _result(
    config: DemoConfig,
    runs: list[_ReleaseRun],
    watcher: ReleaseWatcher,
    running: Traffic,
    terminal: Terminal,
    operator: OperatorCost,
) -> DemoResult:
    samples = running.samples
    ended = time.time()
    reports: list[ReleaseReport] = []
    # A release is judged by every request from its start to the start of the next one.
    for run, until in zip(runs, [run.applied for run in runs[1:]] + [ended], strict=True):
        interval = interval_seconds(config.scenario.manifest(run.expected.version))
        own = counts.between(samples, run.applied, until)
        reports.append(judge.report(run.expected, watcher.observations, own, run.applied, run.decided, interval))
    return DemoResult(
        started=terminal.started,
        seconds=ended - terminal.started,
        rate=running.load.rate,
        requested=len(config.releases),
        reports=tuple(reports),
        requests=counts.totals(samples),
        labels=counts.labels_by_version(running.labels),
        unexplained=sum(report.unexplained for report in reports),
        history=tuple(counts.per_second(samples, terminal.started)),
        operator=operator,
    )
