from __future__ import annotations

from iris_operator.analysis.check import Bounds, CheckResult, Memory
from iris_operator.analysis.checks.error_rate import ErrorRate
from iris_operator.analysis.checks.latency import Latency
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.judge import judge, unjudged
from iris_operator.analysis.verdict import Verdict, combine
from iris_operator.api.spec import Analysis, ErrorRateCheck, LatencyCheck

BOUNDS = Bounds(rollback_at=200, promote_at=20)


def errors(canary: tuple[int, int], stable: tuple[int, int], next_weight: float = 1.0) -> CheckResult:
    interval = Interval(*(RequestCounts({"200": n - x, "503": x}) for x, n in (canary, stable)))
    return ErrorRate(ErrorRateCheck()).judge(interval, {}, next_weight, BOUNDS)[0]


def slow(canary: tuple[int, int], stable: tuple[int, int]) -> CheckResult:
    interval = Interval(
        *(RequestCounts({"200": n}, {0.005: 0, 0.1: n - x, float("inf"): n}, n) for x, n in (canary, stable))
    )
    return Latency(LatencyCheck()).judge(interval, {}, 1.0, BOUNDS)[0]


def test_a_handful_of_errors_beside_a_clean_stable_fails() -> None:
    result = errors((5, 50), (0, 450))
    assert result.verdict is Verdict.FAIL
    assert "5/50" in result.reason


def test_one_error_does_not_fail() -> None:
    assert errors((1, 50), (0, 450)).verdict is Verdict.HOLD


def test_enough_clean_requests_pass_and_a_smaller_next_step_needs_fewer() -> None:
    assert errors((0, 500), (0, 4500)).verdict is Verdict.PASS
    assert errors((0, 50), (0, 450), next_weight=1.0).verdict is Verdict.HOLD
    assert errors((0, 50), (0, 450), next_weight=0.1).verdict is Verdict.PASS


def test_a_hold_tells_how_many_clean_requests_are_missing() -> None:
    missing = errors((0, 100), (0, 900)).requests_missing
    assert errors((0, 100 + missing), (0, 900)).verdict is Verdict.PASS
    assert errors((0, 99 + missing), (0, 900)).verdict is Verdict.HOLD


def test_an_incident_of_both_is_nobodys_fault() -> None:
    result = errors((50, 100), (450, 900))
    assert result.verdict is Verdict.HOLD
    assert "stable itself" in result.reason


def test_a_revision_without_series_is_no_data_and_forgets_nothing() -> None:
    counts = RequestCounts({"200": 10})
    for interval in (Interval(None, counts), Interval(counts, None)):
        for check in (ErrorRate(ErrorRateCheck()), Latency(LatencyCheck())):
            result, memory = check.judge(interval, {"kept": [1]}, 1.0, BOUNDS)
            assert (result.verdict, memory) == (Verdict.NO_DATA, {"kept": [1]})


def test_evidence_of_many_intervals_adds_up() -> None:
    check = ErrorRate(ErrorRateCheck())
    memory: Memory = {}
    interval = Interval(RequestCounts({"200": 19, "500": 1}), RequestCounts({"200": 180}))
    verdicts = []
    for _ in range(8):
        result, memory = check.judge(interval, memory, 1.0, BOUNDS)
        verdicts.append(result.verdict)
    assert verdicts[0] is Verdict.HOLD
    assert verdicts[-1] is Verdict.FAIL


def test_slow_answers_fail_and_as_many_as_stables_pass() -> None:
    assert slow((45, 50), (9, 450)).verdict is Verdict.FAIL
    assert slow((1, 60), (9, 540)).verdict is Verdict.PASS


def test_a_burst_of_a_few_slow_answers_does_not_fail() -> None:
    assert slow((6, 100), (0, 900)).verdict is not Verdict.FAIL


def test_too_few_requests_do_not_pass_the_latency_check() -> None:
    assert slow((0, 49), (0, 450)).verdict is Verdict.HOLD


def test_histograms_without_a_common_bound_are_no_data() -> None:
    interval = Interval(RequestCounts({"200": 5}, {0.1: 5}, 5), RequestCounts({"200": 5}, {0.2: 5}, 5))
    assert Latency(LatencyCheck()).judge(interval, {}, 1.0, BOUNDS)[0].verdict is Verdict.NO_DATA


def test_one_failing_check_is_enough_and_passing_takes_all() -> None:
    assert combine([Verdict.PASS, Verdict.FAIL, Verdict.ERROR]) is Verdict.FAIL
    assert combine([Verdict.PASS, Verdict.ERROR, Verdict.NO_DATA]) is Verdict.ERROR
    assert combine([Verdict.PASS, Verdict.HOLD]) is Verdict.HOLD
    assert combine([Verdict.PASS, Verdict.PASS]) is Verdict.PASS
    assert combine([]) is Verdict.NO_DATA


def test_the_allowed_chance_of_a_false_rollback_is_shared_by_the_checks() -> None:
    counts = RequestCounts({"200": 1}, {0.1: 1, float("inf"): 1}, 1)
    judgement = judge(Interval(counts, counts), {}, Analysis(false_rollback=0.01), 50)
    assert [result.bounds.rollback_at for result in judgement.results if result.bounds] == [200.0, 200.0]


def test_without_counts_every_check_says_the_same_and_forgets_nothing() -> None:
    judgement = unjudged(Verdict.ERROR, "Prometheus is away", {"errorRate": {"canary": [1, 2]}}, Analysis())
    assert judgement.verdict is Verdict.ERROR
    assert {result.name for result in judgement.results} == {"errorRate", "latency"}
    assert judgement.memory == {"errorRate": {"canary": [1, 2]}}
