"""A promise of a time for a share of the requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.judge import judge_fleet, update_baseline
from iris_operator.analysis.prepare import AnalysisInput
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.checks import Analysis, Checks, LatencyCheck, LatencyObjective
from support.operator.observed import revision

PROMISE = Analysis(checks=Checks(latency=LatencyCheck(objective=LatencyObjective(share=0.99, under="100ms"))))


def results(
    canary: RequestCounts, control: RequestCounts, settings: Analysis = PROMISE, times: int = 20
) -> list[CheckResult]:
    checkpoint: Mapping[str, Any] = {}
    for _ in range(5):
        checkpoint = update_baseline(revision(900, slow=3), checkpoint, settings)
    found = []
    for _ in range(times):
        interval = Interval(canary, control, control)
        judgement = judge_fleet([AnalysisInput(interval, checkpoint, settings, 50, step=1)])[0]
        checkpoint = judgement.checkpoint
        found += [each for each in judgement.results if each.name == "latencyObjective"]
    return found


def test_a_canary_that_breaks_the_promise_that_stable_keeps_fails() -> None:
    failed = next(
        each for each in results(revision(200, slow=10), revision(200, slow=1)) if each.verdict is Verdict.FAIL
    )
    assert "over 100 ms 5 % of" in failed.reason
    assert "more than 1 %, and more than stable's" in failed.reason


def test_a_canary_that_breaks_it_no_more_than_stable_does_not_fail() -> None:
    found = results(revision(200, slow=10), revision(200, slow=10), times=100)
    assert Verdict.FAIL not in [each.verdict for each in found]


def test_a_canary_that_keeps_it_passes_although_stable_is_better() -> None:
    found = results(revision(1000, slow=2), revision(1000, slow=0))
    assert found[-1].verdict is Verdict.PASS
    assert Verdict.FAIL not in [each.verdict for each in found]


def test_one_moment_of_slowness_does_not_fail() -> None:
    assert results(revision(200, slow=100), revision(200), times=1)[0].verdict is not Verdict.FAIL


def test_a_time_between_two_bounds_is_judged_at_the_one_below() -> None:
    settings = Analysis(checks=Checks(latency=LatencyCheck(objective=LatencyObjective(share=0.99, under="300ms"))))
    assert "over 100 ms" in results(revision(200), revision(200), settings)[-1].reason


def test_without_an_objective_there_is_no_such_check() -> None:
    assert results(revision(200), revision(200), Analysis()) == []
