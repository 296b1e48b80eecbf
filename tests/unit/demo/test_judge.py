from __future__ import annotations

from dataclasses import replace

import pytest

from iris_demo import judge
from iris_demo.judge import PROMOTED, ROLLED_BACK, UNDECIDED, Expectation, WeightStep
from iris_demo.observations import Check, HistoryEntry, Observation, Release, ReleaseObserved, RouteObserved
from iris_demo.samples import Kind, Sample

GOOD = Expectation("2.0.0", "good", PROMOTED)
BAD = Expectation("3.0.0", "bad", ROLLED_BACK, "ErrorRate")

PROMOTED_2 = Release(
    spec_version="2.0.0",
    generation=2,
    observed_generation=2,
    phase="Stable",
    stable="2.0.0",
    promoted="True",
    promoted_reason="Promoted",
)
PROGRESSING_2 = replace(PROMOTED_2, phase="Progressing", stable="1.0.0", promoted="Unknown")
FAILING_3 = Release(
    spec_version="3.0.0",
    generation=3,
    observed_generation=3,
    phase="RollingBack",
    verdict="Fail",
    checks=(Check("errorRate", "Fail", "9 of 9", 9),),
)
ROLLED_BACK_3 = replace(
    FAILING_3,
    phase="RolledBack",
    promoted="False",
    promoted_reason="RolledBack",
    history=(
        HistoryEntry("3.0.0", "RolledBack", "ErrorRate: 9 of 9 requests failed"),
        HistoryEntry("2.0.0", "Promoted", ""),
    ),
)


def answer(due: float, version: str, status: int = 200, latency: float = 0.01) -> Sample:
    return Sample(due, latency, Kind.OK if status < 300 else Kind.STATUS, status, version)


def rollback(away: float) -> list[Observation]:
    return [
        RouteObserved(110.0, 10),
        ReleaseObserved(120.0, FAILING_3),
        RouteObserved(away, 0),
        ReleaseObserved(away + 1, ROLLED_BACK_3),
    ]


def test_a_promotion_counts_once_stable_serves_it() -> None:
    assert judge.outcome_of(PROMOTED_2, "2.0.0") == PROMOTED
    assert judge.outcome_of(replace(PROMOTED_2, phase="Promoting"), "2.0.0") == UNDECIDED
    assert judge.outcome_of(replace(PROMOTED_2, stable="1.0.0"), "2.0.0") == UNDECIDED


def test_a_spec_that_the_operator_has_not_observed_yet_is_undecided() -> None:
    assert judge.outcome_of(replace(PROMOTED_2, generation=3), "2.0.0") == UNDECIDED
    assert judge.outcome_of(replace(ROLLED_BACK_3, spec_version="4.0.0"), "4.0.0") == ROLLED_BACK
    assert judge.outcome_of(replace(ROLLED_BACK_3, spec_version="4.0.0", generation=4), "4.0.0") == UNDECIDED
    assert judge.outcome_of(ROLLED_BACK_3, "4.0.0") == UNDECIDED


def test_the_reason_is_the_newest_of_that_version() -> None:
    assert judge.reason_of(ROLLED_BACK_3, "3.0.0") == "ErrorRate: 9 of 9 requests failed"
    assert judge.reason_of(PROMOTED_2, "2.0.0") == "Promoted"


def test_a_promotion_without_a_failed_request_is_as_expected() -> None:
    seen: list[Observation] = [
        # The route's own weight is that of both arms.
        RouteObserved(109.9, 20),
        ReleaseObserved(110.0, replace(PROGRESSING_2, weight=10)),
        ReleaseObserved(125.0, replace(PROGRESSING_2, weight=50)),
        ReleaseObserved(140.0, replace(PROGRESSING_2, weight=100)),
        ReleaseObserved(145.0, PROGRESSING_2),
        ReleaseObserved(146.0, PROMOTED_2),
    ]
    report = judge.report(GOOD, seen, [answer(111.0, "2.0.0"), answer(112.0, "1.0.0")], 100.0, 146.0, 5.0)
    assert report.as_expected
    assert report.outcome == PROMOTED
    assert report.steps == (
        WeightStep(0, 10),
        WeightStep(10, 15),
        WeightStep(50, 15),
        WeightStep(100, 5),
        WeightStep(0, 1),
    )
    assert report.rollback_delays == judge.RollbackDelays()
    assert report.requests.by_version == {"1.0.0": 1, "2.0.0": 1}


def test_one_failed_request_makes_a_promotion_a_problem() -> None:
    report = judge.report(GOOD, [ReleaseObserved(146.0, PROMOTED_2)], [answer(111.0, "2.0.0", 500)], 100.0, 146.0, 5.0)
    assert not report.as_expected
    assert "1 requests failed" in report.problems[0]


def test_a_rollback_is_measured_from_each_first_sign() -> None:
    samples = [
        answer(105.0, "2.0.0", latency=0.02),
        answer(111.0, "3.0.0", 500, latency=0.5),
        answer(115.0, "3.0.0", 500, latency=0.01),
    ]
    report = judge.report(BAD, rollback(away=122.0), samples, 100.0, 123.0, 5.0)
    assert report.as_expected
    assert report.rollback_delays.from_fail_verdict == pytest.approx(2.0)
    assert report.rollback_delays.from_failed_answer == pytest.approx(10.5)
    assert report.rollback_delays.from_slow_answer == pytest.approx(10.5)


def test_a_late_rollback_is_a_problem() -> None:
    report = judge.report(BAD, rollback(away=127.5), [], 100.0, 130.0, 5.0)
    assert not report.as_expected
    assert "7.5 s after the first Fail" in report.problems[0]


def test_a_rollback_for_the_wrong_cause_is_a_problem() -> None:
    wrong = replace(BAD, cause="Latency")
    report = judge.report(wrong, rollback(away=121.0), [], 100.0, 122.0, 5.0)
    assert "expected Latency" in report.problems[0]


def test_another_outcome_than_expected_is_a_problem() -> None:
    report = judge.report(replace(BAD, outcome=PROMOTED, cause=""), rollback(away=121.0), [], 100.0, 122.0, 5.0)
    assert report.problems == ("ended RolledBack, expected Promoted",)


def test_a_canary_without_traffic_has_no_rollback_delays() -> None:
    seen: list[Observation] = [ReleaseObserved(120.0, FAILING_3), ReleaseObserved(121.0, ROLLED_BACK_3)]
    report = judge.report(BAD, seen, [], 100.0, 121.0, 5.0)
    assert report.as_expected
    assert report.rollback_delays == judge.RollbackDelays()
    assert report.steps == (WeightStep(0, 21.0),)


def test_a_status_about_the_previous_release_is_ignored() -> None:
    stale = replace(ROLLED_BACK_3, spec_version="4.0.0", generation=4)
    failing = replace(FAILING_3, spec_version="4.0.0", generation=4, observed_generation=4)
    seen: list[Observation] = [
        ReleaseObserved(100.0, stale),
        RouteObserved(105.0, 10),
        ReleaseObserved(110.0, failing),
        RouteObserved(111.0, 0),
        ReleaseObserved(112.0, replace(stale, observed_generation=4)),
    ]
    report = judge.report(replace(BAD, version="4.0.0"), seen, [], 100.0, 112.0, 5.0)
    assert report.rollback_delays.from_fail_verdict == pytest.approx(1.0)


def test_observations_before_a_release_are_ignored() -> None:
    earlier: list[Observation] = [RouteObserved(90.0, 10), RouteObserved(95.0, 0)]
    report = judge.report(GOOD, [*earlier, ReleaseObserved(105.0, PROMOTED_2)], [], 100.0, 105.0, 5.0)
    assert report.steps == (WeightStep(0, 5.0),)


def test_blaming_a_shared_incident_on_the_canary_is_a_problem_even_if_it_is_promoted() -> None:
    shared = replace(GOOD, incident=True)
    canary = replace(PROMOTED_2, phase="Progressing", stable="1.0.0", canary="2.0.0", promoted="False")
    slow = (Check("latency", "Hold", "stable itself is in trouble", 90),)
    held = [ReleaseObserved(110.0, replace(canary, checks=slow)), ReleaseObserved(146.0, PROMOTED_2)]
    assert judge.report(shared, held, [], 100.0, 146.0, 5.0).as_expected
    failed = [ReleaseObserved(110.0, replace(canary, checks=(Check("latency", "Fail", "over 25 ms", 90),))), held[-1]]
    assert judge.report(shared, failed, [], 100.0, 146.0, 5.0).problems == (
        "an incident of both versions was blamed on it: latency: over 25 ms",
    )
