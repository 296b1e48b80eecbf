"""What of the counts is compared, and where the next interval begins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from iris_operator.analysis.counts import Interval, RequestCounts, ShadowCounts
from iris_operator.analysis.judge import Judgement
from iris_operator.analysis.prepare import AnalysisInput
from iris_operator.analysis.verdict import Verdict
from iris_operator.engine.analyze import Analyzer
from iris_operator.engine.batch_judge import BatchJudge
from iris_operator.engine.ports import MetricsQuery, MetricsResult, OwnedObjects
from iris_operator.engine.release import Release
from iris_operator.rollout.observation import AnalysisResult
from support.operator.parsed_release import CANARY, CONTROL, NOON, STABLE, release

STEPS = {"rollout": {"steps": [{"weight": 10}, {"weight": 50}, {"weight": 100}], "interval": "10s"}}
SCRAPE = timedelta(seconds=1)


def counts(requests: int, wrong: int | None = 0, pods: int = 1) -> RequestCounts:
    of = RequestCounts(
        by_code={"200": requests},
        at_most={0.1: requests, math.inf: requests},
        timed=requests,
        seconds=requests / 8,
        failures=0,
        by_class={"setosa": requests},
        correct=None if wrong is None else requests - wrong,
        incorrect=wrong,
        cached={"local": {0.1: 0, math.inf: 0}},
    )
    return replace(of, pods=(of,) * pods)


THREE = {CANARY: counts(10, wrong=1), STABLE: counts(80, pods=3), CONTROL: counts(12, wrong=2)}


@dataclass
class Counts:
    """Metrics that answer every query alike, and a judge that notes what it is given."""

    counts: Mapping[str, RequestCounts]
    until: datetime | None = None
    parts: list[Mapping[str, RequestCounts]] = field(default_factory=list)
    queries: list[MetricsQuery] = field(default_factory=list)

    async def count(self, query: MetricsQuery) -> MetricsResult:
        """See `Metrics.count`."""
        self.queries.append(query)
        return MetricsResult(self.counts, until=self.until, parts=self.parts)


@dataclass
class Mirrored(Counts):
    """With mirrored requests."""

    shadow: ShadowCounts = field(default_factory=lambda: ShadowCounts(counts(30), control=counts(31)))

    async def count(self, query: MetricsQuery) -> MetricsResult:
        """See `Metrics.count`."""
        return replace(await super().count(query), shadow=self.shadow)


class Noting(BatchJudge):
    """Gives a fixed verdict."""

    def __init__(self, *, counted: bool) -> None:
        super().__init__()
        self.inputs: list[AnalysisInput] = []
        self._counted = counted

    async def judge(self, analysis_input: AnalysisInput) -> Judgement:
        """Note the input."""
        self.inputs.append(analysis_input)
        return Judgement(Verdict.PASS, (), {"number": len(self.inputs)}, counted=self._counted)


async def judged(
    metrics: Counts, of: Release, now: datetime, *, counted: bool = True
) -> tuple[AnalysisResult, AnalysisInput]:
    judge = Noting(counted=counted)
    result = await Analyzer(metrics, judge, lag_seconds=10).judge(of, OwnedObjects(), now)
    (given,) = judge.inputs
    return result, given


def at_step(index: int, through: datetime | None = None, **changes: Any) -> Release:
    found = release(spec=STEPS, **changes)
    status = found.status.model_copy(update={"step": found.status.step.model_copy(update={"index": index})})
    if through:
        analysis = {"verdict": "Hold", "judgedThrough": through}
        status = type(status).model_validate({**status.to_json(), "analysis": analysis})
    return replace(found, status=status)


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


async def test_the_canary_is_compared_with_the_control_group_and_with_all_of_stable() -> None:
    _, given = await judged(Counts(THREE), at_step(1, later(0)), later(10))
    interval: Interval = given.interval
    assert (interval.canary, interval.control) == (THREE[CANARY], THREE[CONTROL])
    stable = interval.stable
    assert stable is not None
    assert (stable.total, stable.timed, stable.seconds, stable.at_most[0.1]) == (92, 92, 11.5, 92)
    assert (stable.correct, stable.incorrect, stable.by_class) == (90, 2, {"setosa": 92})
    assert stable.pods == (*THREE[STABLE].pods, *THREE[CONTROL].pods)


async def test_what_the_control_group_does_not_count_is_unknown_of_all_of_stable() -> None:
    _, given = await judged(Counts({**THREE, CONTROL: counts(12, wrong=None)}), at_step(1, later(0)), later(10))
    assert given.interval.stable is not None
    assert (given.interval.stable.total, given.interval.stable.incorrect) == (92, None)


async def test_a_control_group_without_samples_is_one_without_requests_and_not_replaced_by_production() -> None:
    metrics = Counts({CANARY: THREE[CANARY], STABLE: THREE[STABLE]})
    _, given = await judged(metrics, at_step(1, later(0)), later(10))
    control = given.interval.control
    assert control is not None
    assert (control.total, control.timed, control.at_most, control.seconds) == (0, 0, {0.1: 0, math.inf: 0}, 0.0)
    assert (control.correct, control.incorrect, control.failures, control.by_class) == (0, 0, 0, {"setosa": 0})
    assert given.interval.stable == THREE[STABLE]


async def test_without_samples_of_production_nothing_is_compared() -> None:
    _, given = await judged(Counts({CANARY: THREE[CANARY], CONTROL: THREE[CONTROL]}), at_step(1, later(0)), later(10))
    assert given.interval.stable is None


async def test_without_a_control_group_the_canary_is_compared_with_production() -> None:
    _, given = await judged(Counts(THREE), at_step(1, later(0), control=False), later(10))
    assert (given.interval.stable, given.interval.control) == (THREE[STABLE], None)


async def test_an_interval_begins_where_the_last_one_was_scraped_to() -> None:
    metrics = Counts(THREE, until=later(6.25))
    result, _ = await judged(metrics, at_step(1, later(1.5)), later(10))
    (query,) = metrics.queries
    assert (query.since, query.until, query.next_until) == (later(1.5), later(10) - SCRAPE, later(15) - SCRAPE)
    assert result.judged_through == later(6.25)
    assert result.requests_per_second == 102 / 4.75


async def test_an_interval_that_is_not_judged_begins_again() -> None:
    result, _ = await judged(Counts(THREE, until=later(6)), at_step(1, later(1.5)), later(10), counted=False)
    assert (result.judged_through, result.requests_per_second) == (later(1.5), None)


async def test_intervals_that_are_joined_go_back_ten_minutes_at_most() -> None:
    metrics = Counts(THREE, until=later(998))
    result, _ = await judged(metrics, at_step(1, later(1.5)), later(1000), counted=False)
    assert result.judged_through == later(1000) - SCRAPE - timedelta(minutes=10)


async def test_an_interval_without_any_new_sample_is_judged_as_one_without_requests() -> None:
    result, _ = await judged(Counts(THREE, until=later(1.5)), at_step(1, later(1.5)), later(5), counted=False)
    assert (result.judged_through, result.judgement.verdict) == (later(1.5), Verdict.PASS)


async def test_an_interval_that_began_before_the_step_belongs_to_the_previous_one_and_passes_nothing() -> None:
    result, given = await judged(Counts(THREE, until=later(8)), at_step(2, later(-1)), later(10))
    assert (given.next_weight, result.judgement.verdict, given.interval.weight) == (50, Verdict.HOLD, None)
    result, given = await judged(Counts(THREE, until=later(8)), at_step(2, later(0)), later(10))
    assert (given.next_weight, result.judgement.verdict) == (100, Verdict.PASS)


async def test_the_last_step_is_judged_on_the_way_to_all_of_the_traffic() -> None:
    for index in (3, 7):
        found = at_step(index, later(6), confirmedWeight=100)
        # The control group holds back a fifth, by its number of pods: the router does not claim to split anything.
        found = replace(found, status=found.status.model_copy(update={"weight": 80}))
        result, given = await judged(Counts(THREE), found, later(15))
        assert (given.next_weight, result.judgement.counted, given.interval.weight) == (100, True, None)


@pytest.mark.parametrize(("control", "claimed"), [(True, 0.08), (False, 0.1)])
async def test_the_split_is_that_of_the_new_versions_share(control: bool, claimed: float) -> None:
    found = at_step(1, later(6), control=control, confirmedWeight=10)
    found = replace(found, status=found.status.model_copy(update={"weight": 8}))
    _, given = await judged(Counts(THREE), found, later(15))
    assert given.interval.weight == claimed


def before_traffic() -> Release:
    found = at_step(0)
    rollout = found.status.rollout.model_copy(update={"step_started_at": None})
    return replace(found, status=found.status.model_copy(update={"rollout": rollout}))


async def test_a_baseline_is_learnt_interval_by_interval() -> None:
    parts = [{STABLE: counts(requests)} for requests in (10, 20, 30)]
    metrics, judge = Counts({STABLE: counts(60)}, until=later(9), parts=list(parts)), Noting(counted=True)
    result = await Analyzer(metrics, judge, lag_seconds=10).judge_baseline(before_traffic(), OwnedObjects(), later(10))
    (query,) = metrics.queries
    assert (query.since, query.until) == (later(9 - 120), later(9))
    assert list(query.split_at) == [later(9 - 5 * part) for part in range(24, 0, -1)]
    learnt = [given.interval.stable for given in judge.inputs]
    assert learnt == [part[STABLE] for part in parts]
    assert [given.checkpoint for given in judge.inputs] == [{}, {"number": 1}, {"number": 2}]
    assert (result.judged_through, result.requests_per_second) == (later(9), 0.5)


async def test_a_baseline_without_new_samples_is_measured_again_later() -> None:
    metrics, judge = Counts({STABLE: counts(0)}, until=later(9 - 120)), Noting(counted=True)
    result = await Analyzer(metrics, judge, lag_seconds=10).judge_baseline(before_traffic(), OwnedObjects(), later(10))
    assert (judge.inputs, result.judged_through, result.judgement.counted) == ([], None, False)


async def test_in_a_shadow_step_both_arms_are_judged_by_the_requests_mirrored_to_them() -> None:
    steps = {"rollout": {"steps": [{"weight": 0, "shadow": 20}, {"weight": 10}, {"weight": 100}], "interval": "10s"}}
    metrics = Mirrored(THREE, until=later(6))
    found = replace(at_step(1, later(1)), spec=release(spec=steps).spec)
    _, given = await judged(metrics, found, later(10))
    assert (given.mirrored, given.interval.canary) == (True, metrics.shadow.counts)
    assert given.interval.control == metrics.shadow.control
    assert given.interval.stable is not None
    assert given.interval.stable.total == 80 + 31


async def test_a_control_group_that_got_no_mirrored_request_has_none_in_a_shadow_step() -> None:
    steps = {"rollout": {"steps": [{"weight": 0, "shadow": 20}, {"weight": 10}, {"weight": 100}], "interval": "10s"}}
    metrics = Mirrored(THREE, until=later(6), shadow=ShadowCounts(counts(30)))
    _, given = await judged(metrics, replace(at_step(1, later(1)), spec=release(spec=steps).spec), later(10))
    assert given.interval.control is not None
    assert given.interval.control.total == 0
