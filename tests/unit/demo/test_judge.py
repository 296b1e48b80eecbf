from __future__ import annotations

from dataclasses import replace

import pytest

from iris_demo import judge
from iris_demo.judge import PROMOTED, ROLLED_BACK, UNDECIDED, Expectation, Step
from iris_demo.observations import Check, Observation, Past, Release, ReleaseSeen, RouteSeen
from iris_demo.samples import Kind, Sample

GOOD = Expectation("2.0.0", "good", PROMOTED)
BAD = Expectation("3.0.0", "bad", ROLLED_BACK, "ErrorRate")

PROMOTED_2 = Release(
    wanted="2.0.0",
    generation=2,
    observed=2,
    phase="Stable",
    stable="2.0.0",
    promoted="True",
    promoted_reason="Promoted",
)
FAILING_3 = Release(
    wanted="3.0.0",
    generation=3,
    observed=3,
    phase="RollingBack",
    verdict="Fail",
    checks=(Check("errorRate", "Fail", "9 of 9", 9),),
)
ROLLED_BACK_3 = replace(
    FAILING_3,
    phase="RolledBack",
    promoted="False",
    promoted_reason="RolledBack",
    history=(Past("3.0.0", "RolledBack", "ErrorRate: 9 of 9 requests failed"), Past("2.0.0", "Promoted", "")),
)


def answer(due: float, version: str, status: int = 200, latency: float = 0.01) -> Sample:
    return Sample(due, latency, Kind.OK if status < 300 else Kind.STATUS, status, version)


def rollback(away: float) -> list[Observation]:
    return [
        RouteSeen(110.0, 10),
        ReleaseSeen(120.0, FAILING_3),
        RouteSeen(away, 0),
        ReleaseSeen(away + 1, ROLLED_BACK_3),
    ]


def test_a_promotion_counts_once_stable_serves_it() -> None:
    assert judge.outcome_of(PROMOTED_2, "2.0.0") == PROMOTED
    assert judge.outcome_of(replace(PROMOTED_2, phase="Promoting"), "2.0.0") == UNDECIDED
    assert judge.outcome_of(replace(PROMOTED_2, stable="1.0.0"), "2.0.0") == UNDECIDED


def test_what_the_operator_has_not_seen_yet_is_undecided() -> None:
    assert judge.outcome_of(replace(PROMOTED_2, generation=3), "2.0.0") == UNDECIDED
    assert judge.outcome_of(replace(ROLLED_BACK_3, wanted="4.0.0"), "4.0.0") == ROLLED_BACK
    assert judge.outcome_of(replace(ROLLED_BACK_3, wanted="4.0.0", generation=4), "4.0.0") == UNDECIDED
    assert judge.outcome_of(ROLLED_BACK_3, "4.0.0") == UNDECIDED


def test_the_reason_is_the_newest_of_that_version() -> None:
    assert judge.reason_of(ROLLED_BACK_3, "3.0.0") == "ErrorRate: 9 of 9 requests failed"
    assert judge.reason_of(PROMOTED_2, "2.0.0") == "Promoted"


def test_a_promotion_without_a_failed_request_is_as_expected() -> None:
    seen: list[Observation] = [
        RouteSeen(110.0, 10),
        RouteSeen(125.0, 50),
        RouteSeen(140.0, 100),
        RouteSeen(145.0, 0),
        ReleaseSeen(146.0, PROMOTED_2),
    ]
    report = judge.report(GOOD, seen, [answer(111.0, "2.0.0"), answer(112.0, "1.0.0")], 100.0, 146.0, 5.0)
    assert report.as_expected
    assert report.outcome == PROMOTED
    assert report.steps == (Step(0, 10), Step(10, 15), Step(50, 15), Step(100, 5), Step(0, 1))
    assert report.evidence == judge.Evidence()
    assert report.requests.by_version == {"1.0.0": 1, "2.0.0": 1}


def test_one_failed_request_spoils_a_promotion() -> None:
    report = judge.report(GOOD, [ReleaseSeen(146.0, PROMOTED_2)], [answer(111.0, "2.0.0", 500)], 100.0, 146.0, 5.0)
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
    assert report.evidence.from_fail_verdict == pytest.approx(2.0)
    assert report.evidence.from_failed_answer == pytest.approx(10.5)
    assert report.evidence.from_slow_answer == pytest.approx(10.5)


def test_a_late_rollback_is_a_problem() -> None:
    report = judge.report(BAD, rollback(away=127.5), [], 100.0, 130.0, 5.0)
    assert not report.as_expected
    assert "7.5 s after the first Fail" in report.problems[0]


def test_a_rollback_for_the_wrong_cause_is_a_problem() -> None:
    wrong = replace(BAD, cause="Latency")
    report = judge.report(wrong, rollback(away=121.0), [], 100.0, 122.0, 5.0)
    assert "expected Latency" in report.problems[0]


def test_another_end_than_expected_is_a_problem() -> None:
    report = judge.report(replace(BAD, outcome=PROMOTED, cause=""), rollback(away=121.0), [], 100.0, 122.0, 5.0)
    assert report.problems == ("ended RolledBack, expected Promoted",)


def test_a_canary_that_never_had_traffic_had_none_to_lose() -> None:
    seen: list[Observation] = [ReleaseSeen(120.0, FAILING_3), ReleaseSeen(121.0, ROLLED_BACK_3)]
    report = judge.report(BAD, seen, [], 100.0, 121.0, 5.0)
    assert report.as_expected
    assert report.evidence == judge.Evidence()
    assert report.steps == (Step(0, 21.0),)


def test_a_status_about_the_release_before_is_no_evidence() -> None:
    stale = replace(ROLLED_BACK_3, wanted="4.0.0", generation=4)
    failing = replace(FAILING_3, wanted="4.0.0", generation=4, observed=4)
    seen: list[Observation] = [
        ReleaseSeen(100.0, stale),
        RouteSeen(105.0, 10),
        ReleaseSeen(110.0, failing),
        RouteSeen(111.0, 0),
        ReleaseSeen(112.0, replace(stale, observed=4)),
    ]
    report = judge.report(replace(BAD, version="4.0.0"), seen, [], 100.0, 112.0, 5.0)
    assert report.evidence.from_fail_verdict == pytest.approx(1.0)


def test_what_happened_before_a_release_is_not_its_own() -> None:
    earlier: list[Observation] = [RouteSeen(90.0, 10), RouteSeen(95.0, 0)]
    report = judge.report(GOOD, [*earlier, ReleaseSeen(105.0, PROMOTED_2)], [], 100.0, 105.0, 5.0)
    assert report.steps == (Step(0, 5.0),)


def test_a_version_that_an_incident_of_both_is_blamed_on_is_a_problem_even_if_it_is_promoted() -> None:
    shared = replace(GOOD, incident=True)
    canary = replace(PROMOTED_2, phase="Progressing", stable="1.0.0", canary="2.0.0", promoted="False")
    slow = (Check("latency", "Hold", "stable itself is in trouble", 90),)
    held = [ReleaseSeen(110.0, replace(canary, checks=slow)), ReleaseSeen(146.0, PROMOTED_2)]
    assert judge.report(shared, held, [], 100.0, 146.0, 5.0).as_expected
    failed = [ReleaseSeen(110.0, replace(canary, checks=(Check("latency", "Fail", "over 25 ms", 90),))), held[-1]]
    assert judge.report(shared, failed, [], 100.0, 146.0, 5.0).problems == (
        "an incident of both versions was blamed on it: latency: over 25 ms",
    )
