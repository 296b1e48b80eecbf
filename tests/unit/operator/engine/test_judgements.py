"""A reconcile never waits for Prometheus; a judgement counts only for the state that it was made for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from iris_operator.analysis.judge import Judgement
from iris_operator.analysis.verdict import Verdict
from iris_operator.engine.analyze import Analyzer
from iris_operator.engine.batch_judge import BatchJudge
from iris_operator.engine.judgements import BackgroundJudgements, Basis, JudgementFailed, Key, Kind
from iris_operator.engine.ports import MetricsQuery, MetricsResult
from iris_operator.engine.reconcile import Reconciler
from iris_operator.engine.release import parse_release
from iris_operator.rollout.observation import AnalysisResult
from support.operator.api_server import START, Image
from support.operator.simulation import LOOP, Simulation, at_share, manifest, phase, serving

KEY: Key = ("iris", "iris")
RELEASE = manifest("1.0.0")
RELEASE["metadata"] |= {"uid": "uid-1", "generation": 1, "resourceVersion": "1"}
BASIS = Basis.of(Kind.CANARY, parse_release(RELEASE))
NEXT = replace(BASIS, judged_at=START)


@dataclass
class Bench:
    """Judgements in a real event loop, each of which ends when the test lets it."""

    now: Any = START
    woken: list[Key] = field(default_factory=list)
    asked: int = 0
    cancelled: int = 0
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    outcome: AnalysisResult | Exception | None = None

    def __post_init__(self) -> None:
        self.judgements = BackgroundJudgements(self.woken.append, lambda: self.now)
        self.answer(Verdict.PASS)

    def answer(self, verdict: Verdict) -> None:
        self.outcome = AnalysisResult(Judgement(verdict, (), {}), None)

    async def judge(self) -> AnalysisResult:
        self.asked += 1
        try:
            await self.goes_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.outcome, Exception):
            raise self.outcome
        assert self.outcome
        return self.outcome

    async def newest(self, basis: Basis = BASIS) -> AnalysisResult | None:
        result = await self.judgements.newest(KEY, basis, self.judge)
        await settle()
        return result


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_nobody_waits_and_the_release_is_woken_by_the_result() -> None:
    bench = Bench()
    assert await bench.newest() is None
    assert await bench.newest() is None
    assert (bench.asked, bench.woken) == (1, [])
    bench.goes_on.set()
    await settle()
    assert bench.woken == [KEY]
    assert await bench.newest() is bench.outcome
    assert await bench.newest() is bench.outcome, "a reconcile that failed gets it again"
    assert bench.asked == 1


async def test_a_result_for_another_state_is_dropped_and_made_anew() -> None:
    bench = Bench()
    await bench.newest()
    bench.goes_on.set()
    await settle()
    assert await bench.newest(NEXT) is None
    assert bench.asked == 2
    assert await bench.newest(NEXT) is bench.outcome


async def test_a_judgement_of_a_state_that_is_over_is_cancelled() -> None:
    bench = Bench()
    await bench.newest()
    await bench.newest(NEXT)
    assert (bench.asked, bench.cancelled) == (2, 1)
    bench.goes_on.set()
    await settle()
    assert bench.woken == [KEY]


@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("seconds", [60, -60])
async def test_an_old_pass_is_made_anew_and_an_old_failure_is_still_one(verdict: Verdict, seconds: float) -> None:
    bench = Bench()
    bench.answer(verdict)
    await bench.newest()
    bench.goes_on.set()
    await settle()
    bench.now += timedelta(seconds=seconds)
    assert (await bench.newest() is None) == (verdict is not Verdict.FAIL)


async def test_a_judgement_that_raises_is_told_and_attempted_again() -> None:
    bench = Bench()
    bench.outcome = RuntimeError("broken")
    await bench.newest()
    bench.goes_on.set()
    await settle()
    assert bench.woken == [KEY]
    with pytest.raises(JudgementFailed, match="RuntimeError: broken"):
        await bench.newest()
    bench.now += timedelta(seconds=60)
    bench.answer(Verdict.HOLD)
    assert await bench.newest() is None
    result = await bench.newest()
    assert result is not None
    assert result.judgement.verdict is Verdict.HOLD


async def test_a_release_that_is_gone_is_judged_no_longer() -> None:
    bench = Bench()
    await bench.newest()
    bench.judgements.forget(KEY)
    await settle()
    assert (bench.cancelled, bench.woken) == (1, [])


@pytest.mark.parametrize(
    "change",
    [
        {"memory": "{}"},
        {"judged_through": START},
        {"step_started_at": START},
        {"step_index": 2},
        {"revisions": ("a", "b", "")},
        {"kind": Kind.WATCH},
        {"uid": "uid-2"},
    ],
)
async def test_every_part_of_the_state_counts(change: dict[str, Any]) -> None:
    bench = Bench()
    await bench.newest()
    bench.goes_on.set()
    await settle()
    assert await bench.newest(replace(BASIS, **change)) is None


class Hanging:
    """A Prometheus that answers nobody until it is let go on."""

    def __init__(self, simulation: Simulation) -> None:
        self.goes_on = asyncio.Event()
        self._traffic = simulation.traffic

    async def count(self, query: MetricsQuery) -> MetricsResult:
        await self.goes_on.wait()
        return await self._traffic.count(query)


def with_hanging_prometheus(simulation: Simulation) -> Hanging:
    metrics = Hanging(simulation)
    ports = replace(
        simulation.reconciler._ports,
        analyzer=Analyzer(metrics, BatchJudge(), lag_seconds=2.0),
        judgements=BackgroundJudgements(lambda _: None, lambda: simulation.server.now),
    )
    simulation.reconciler = Reconciler(ports)
    return metrics


def at_ten_percent() -> Simulation:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0")
    simulation.run(at_share(10))
    return simulation


def test_a_canary_that_crashes_loses_its_traffic_while_prometheus_hangs() -> None:
    """T6."""
    simulation = at_ten_percent()
    metrics = with_hanging_prometheus(simulation)
    simulation.run_for(20)
    assert simulation.weight > 0
    simulation.server.images = {"registry.example.com/iris:2.0.0": Image(crash="out of memory")}
    simulation.server.advance(1)
    simulation.step()
    assert simulation.weight == 0
    assert simulation.run(phase("RolledBack")).rejected is not None
    metrics.goes_on.set()


def test_nothing_rises_while_prometheus_hangs_and_the_release_goes_on_afterwards() -> None:
    simulation = at_ten_percent()
    metrics = with_hanging_prometheus(simulation)
    simulation.run_for(60)
    assert simulation.server.shares == [10]
    metrics.goes_on.set()
    for _ in range(400):
        simulation.step()
        LOOP.run_until_complete(settle_in_threads())
        if serving("2.0.0")(simulation.status):
            break
    assert simulation.server.shares == [10, 50, 100, 0]


async def settle_in_threads() -> None:
    """Until the judgement that runs has ended: it is computed in a thread."""
    while tasks := [task for task in asyncio.all_tasks() if "BackgroundJudgements" in repr(task.get_coro())]:
        await asyncio.wait(tasks)
