from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.judge import Case, Judgement, judge, judge_fleet, learn, unjudged
from iris_operator.analysis.memory import read, written
from iris_operator.analysis.verdict import Verdict, combine
from iris_operator.api.spec import (
    AccuracyCheck,
    Analysis,
    Checks,
    CustomCheck,
    ErrorRateCheck,
    LatencyCheck,
    PredictionDriftCheck,
)
from unit.operator.analysis.observed import revision, spread

DEFAULTS = Analysis()


def taught(settings: Analysis = DEFAULTS) -> Mapping[str, Any]:
    memory: Mapping[str, Any] = {}
    for _ in range(5):
        memory = learn(revision(900, 1, pods=5), memory, settings)
    return memory


def judged(
    canary: RequestCounts,
    stable: RequestCounts,
    times: int = 6,
    next_weight: int = 50,
    settings: Analysis = DEFAULTS,
    **more: Any,
) -> list[Judgement]:
    memory, said = taught(settings), []
    for _ in range(times):
        judgement = judge(Interval(canary, stable, **more), memory, settings, next_weight)
        memory = judgement.memory
        said.append(judgement)
    return said


def result(judgement: Judgement, name: str) -> CheckResult:
    return next(each for each in judgement.results if each.name == name)


def verdicts(said: Sequence[Judgement]) -> list[Verdict]:
    return [judgement.verdict for judgement in said]


def test_a_canary_like_stable_passes_and_is_never_failed() -> None:
    said = judged(revision(100), revision(900, 1))
    assert said[-1].verdict is Verdict.PASS
    assert Verdict.FAIL not in verdicts(said)


def test_errors_fail_with_a_sentence_that_has_the_numbers() -> None:
    said = judged(revision(100, 5), revision(900, 1))
    failed = next(each for each in said if each.verdict is Verdict.FAIL)
    reason = result(failed, "errorRate").reason
    assert reason.startswith("canary 5xx 5 % of ")
    assert "stable 0.11 % of " in reason
    assert "more than stable's with evidence" in reason
    assert reason.endswith("needed 100:1")


def test_one_error_does_not_fail() -> None:
    memory = taught()
    first = judge(Interval(revision(100, 1), revision(900, 1)), memory, DEFAULTS, 50)
    assert first.verdict is not Verdict.FAIL


def test_a_wider_ratio_tolerates_what_a_narrow_one_rolls_back() -> None:
    wide = Analysis(checks=Checks(error_rate=ErrorRateCheck(max_ratio=40.0), inference_failures={"maxRatio": 40.0}))
    assert Verdict.FAIL in verdicts(judged(revision(100, 2), revision(900, 1), 12))
    assert Verdict.FAIL not in verdicts(judged(revision(100, 2), revision(900, 1), 12, settings=wide))


def test_a_smaller_next_step_is_earned_with_fewer_requests() -> None:
    def needed(next_weight: int) -> int:
        said = judged(revision(20), revision(180), 200, next_weight)
        return next(at for at, judgement in enumerate(said) if result(judgement, "errorRate").verdict is Verdict.PASS)

    assert needed(10) < needed(50) < needed(100)


def test_a_body_that_moved_and_a_tail_that_grew_are_both_seen() -> None:
    moved = RequestCounts({"200": 100}, {0.005: 0, 0.025: 40, 0.1: 99, 0.5: 100}, 100, 0, {"a": 40, "b": 30, "c": 30})
    for canary in (moved, revision(100, slow=6)):
        failed = [each for each in judged(canary, revision(900, 1), 20) if each.verdict is Verdict.FAIL]
        assert failed
        assert "slower than stable" in result(failed[0], "latency").reason


def test_a_slowness_within_a_third_of_the_margin_is_nobodys_fault() -> None:
    # A third slower: 45 % of the requests beyond the bound that 34 % of stable's lie beyond.
    slower = RequestCounts({"200": 100}, {0.005: 0, 0.025: 55, 0.1: 99, 0.5: 100}, 100, 0, {"a": 40, "b": 30, "c": 30})
    wide = Analysis(checks=Checks(latency=LatencyCheck(max_slower=3.0)))
    assert Verdict.FAIL in verdicts(judged(slower, revision(900, 1), 60))
    said = judged(slower, revision(900, 1), 60, settings=wide)
    assert Verdict.FAIL not in verdicts(said)
    assert said[-1].verdict is Verdict.PASS


def test_a_mix_of_classes_that_moved_fails_in_either_direction() -> None:
    # The last one loses 12 points, and no class gains more than the 5 that are nobody's fault, or little more.
    for classes in ({"a": 60, "b": 20, "c": 20}, {"a": 20, "b": 40, "c": 40}, {"a": 28, "b": 36, "c": 36}):
        said = judged(revision(100, classes=classes), revision(900, 1), 30)
        failed = next(each for each in said if each.verdict is Verdict.FAIL)
        assert "class " in result(failed, "predictionDrift").reason


def test_a_class_that_stable_never_predicts_is_seen_among_the_others() -> None:
    said = judged(revision(100, classes={"a": 40, "b": 30, "weed": 30}), revision(900, 1), 30)
    assert said[-1].verdict is Verdict.FAIL
    assert Verdict.PASS not in verdicts(said)


def test_labels_that_call_the_canary_wrong_fail_it() -> None:
    settings = Analysis(checks=Checks(accuracy=AccuracyCheck(max_drop=0.05)))
    canary, stable = (_labelled(revision(n), right, wrong) for n, right, wrong in ((100, 80, 20), (900, 864, 36)))
    said = judged(canary, stable, 12, settings=settings)
    failed = next(each for each in said if each.verdict is Verdict.FAIL)
    assert "wrong more often than stable" in result(failed, "accuracy").reason


def test_pairs_count_when_both_versions_answer_the_same_requests() -> None:
    settings = Analysis(checks=Checks(accuracy=AccuracyCheck(max_drop=0.05)))
    canary, stable = (_labelled(revision(n), n - n // 25, n // 25) for n in (100, 900))
    said = judged(canary, stable, 12, settings=settings, paired=(9, 1))
    assert Verdict.FAIL in verdicts(said)
    assert Verdict.FAIL not in verdicts(judged(canary, stable, 12, settings=settings, paired=(5, 5)))


def durations(within: Mapping[float, int], requests: int) -> RequestCounts:
    plain = revision(requests)
    return replace(plain, at_most={**dict.fromkeys((0.005, 0.025, 0.1, 0.5), requests), **within})


def test_a_busy_hour_is_no_incident_and_three_times_as_slow_is_one() -> None:
    # All requests take about 10 ms: a little slower is slower than all of the earlier ones.
    usual = {0.005: 0, 0.025: 900}
    memory: Mapping[str, Any] = {}
    for _ in range(5):
        memory = learn(durations(usual, 900), memory, DEFAULTS)
    busy, slow = ({0.005: 0, 0.025: share} for share in (300, 100))
    told = [
        judge(Interval(durations({0.005: 0, 0.025: 80}, 100), durations(within, 900)), memory, DEFAULTS, 50).trouble
        for within in (usual, busy, slow)
    ]
    assert told == [False, False, True]


def test_an_incident_without_failures_says_how_slow_both_are() -> None:
    crawling = judged(revision(100, slow=80), revision(900, slow=700), 1)[0]
    assert "canary 5xx 0 % of 100 requests, half of them within 500 ms; stable 5xx 0 % of 900" in crawling.incident
    stuck = RequestCounts({"200": 900}, {0.005: 0, 0.025: 0, 0.1: 0, 0.5: 0}, 900, 0, {"a": 900})
    assert (
        "stable 5xx 0 % of 900 requests, half of them over 500 ms"
        in judged(revision(100, slow=80), stuck, 1)[0].incident
    )


def test_an_incident_of_both_blames_nobody_and_is_said() -> None:
    said = judged(revision(100, 20), revision(900, 180))
    assert set(verdicts(said)) == {Verdict.HOLD}
    assert said[0].incident == (
        "both versions are in trouble at once (in this interval: canary 5xx 20 % of 100 requests, half of them within "
        "25 ms; stable 5xx 20 % of 900 requests, half of them within 25 ms)"
    )
    assert "stable itself is in trouble" in result(said[0], "errorRate").reason


def test_an_incident_does_not_hide_a_canary_that_is_worse_still() -> None:
    assert Verdict.FAIL in verdicts(judged(revision(100, 90), revision(900, 180)))


def test_stable_that_crawls_holds_a_canary_that_crawls_with_it() -> None:
    canary, stable = (
        RequestCounts({"200": n}, {0.005: 0, 0.025: 0, 0.1: 0, 0.5: n}, n, 0, {"a": n}) for n in (100, 900)
    )
    said = judged(canary, stable)
    assert Verdict.FAIL not in verdicts(said)
    assert Verdict.PASS not in verdicts(said)
    assert said[0].incident


def test_noise_between_stables_pods_needs_more_evidence() -> None:
    def evidence(pods: tuple[RequestCounts, ...]) -> float:
        memory: Mapping[str, Any] = {}
        stable = revision(900, 9)
        stable = RequestCounts(**{**vars(stable), "pods": pods})
        for _ in range(10):
            memory = learn(stable, memory, DEFAULTS)
        judgement = judge(Interval(revision(100, 5), stable), memory, DEFAULTS, 50)
        return result(judgement, "errorRate").worse or 0.0

    even = tuple(revision(300, 3) for _ in range(3))
    noisy = (revision(300, 9), revision(300), revision(300))
    assert evidence(noisy) < evidence(even)


def test_a_router_that_does_not_apply_its_weight_holds() -> None:
    assert judged(revision(100), revision(900, 1), weight=0.1)[-1].verdict is Verdict.PASS
    wrong = judged(revision(100), revision(900, 1), weight=0.5)[-1]
    assert wrong.verdict is Verdict.HOLD
    assert "the router does not apply it" in result(wrong, "trafficSplit").reason


@pytest.mark.parametrize(
    ("no_data", "expected"), [("Hold", Verdict.NO_DATA), ("Ignore", Verdict.PASS), ("Fail", Verdict.FAIL)]
)
def test_a_custom_query_says_what_no_answer_means(no_data: str, expected: Verdict) -> None:
    custom = CustomCheck.model_validate({"name": "cost", "query": "q", "max": 1, "noData": no_data})
    settings = Analysis(checks=Checks(custom=[custom]))
    said = judged(revision(100), revision(900, 1), settings=settings, custom={"cost": None})
    assert result(said[-1], "cost").verdict is expected


def test_a_custom_query_fails_after_so_many_breaches_in_a_row() -> None:
    settings = Analysis(checks=Checks(custom=[CustomCheck(name="cost", query="q", max=1.0, breaches=3)]))
    memory, said = taught(settings), []
    for value in (2.0, 2.0, 0.5, 2.0, 2.0, 2.0):
        judgement = judge(Interval(revision(100), revision(900, 1), custom={"cost": value}), memory, settings, 50)
        memory = judgement.memory
        said.append(result(judgement, "cost").verdict)
    assert said == [Verdict.HOLD, Verdict.HOLD, Verdict.PASS, Verdict.HOLD, Verdict.HOLD, Verdict.FAIL]


def test_a_revision_without_series_is_no_data_and_forgets_nothing() -> None:
    memory = taught()
    for interval in (Interval(None, revision(9)), Interval(revision(9), None)):
        judgement = judge(interval, memory, DEFAULTS, 50)
        assert (judgement.verdict, judgement.counted) == (Verdict.NO_DATA, False)
        assert judgement.memory == memory


def test_releases_with_different_numbers_of_pods_are_judged_together_like_alone() -> None:
    def case(pods: int) -> Case:
        uneven = tuple(revision(300, 9 * number, slow=40 * number) for number in range(pods))
        stable = RequestCounts(**{**vars(revision(900, 9)), "pods": uneven})
        return Case(Interval(revision(100, 1), stable), taught(), DEFAULTS, 50)

    cases = [case(pods) for pods in (0, 2, 3)]
    for _ in range(3):
        alone = [judge(case.interval, case.memory, case.settings, case.next_weight) for case in cases]
        together = judge_fleet(cases)
        for one, other in zip(alone, together, strict=True):
            assert one.verdict is other.verdict
            for name, row in one.memory["checks"].items():
                assert other.memory["checks"][name] == pytest.approx(row, abs=1e-3)
        cases = [Case(case.interval, said.memory, DEFAULTS, 50) for case, said in zip(cases, alone, strict=True)]


def test_a_metric_that_is_missing_holds_up_the_others_judgement_of_going_on_not_of_rolling_back() -> None:
    without = RequestCounts(**{**vars(revision(100)), "by_class": None})
    assert judged(without, revision(900, 1))[-1].verdict is Verdict.NO_DATA
    broken = RequestCounts(**{**vars(revision(100, 60)), "by_class": None})
    assert judged(broken, revision(900, 1))[-1].verdict is Verdict.FAIL


def test_counts_that_cannot_be_are_an_error_and_are_not_counted() -> None:
    memory = taught()
    for wrong in (
        RequestCounts({"200": -1}),
        RequestCounts({"200": 9}, {0.1: 5, 0.5: 4}, 9),
        RequestCounts({"200": 9}, {0.1: 12}, 9),
    ):
        judgement = judge(Interval(wrong, revision(900)), memory, DEFAULTS, 50)
        assert (judgement.verdict, judgement.counted) == (Verdict.ERROR, False)
        assert judgement.memory == memory


def test_what_the_caller_cannot_count_is_left_out() -> None:
    judgement = judge(Interval(revision(100), revision(900)), {}, DEFAULTS, 50, {"errorRate"})
    assert [each.name for each in judgement.results] == ["errorRate"]


def test_a_hold_tells_about_how_many_requests_are_missing() -> None:
    slow = judged(revision(5), revision(45), 3, 100)[-1]
    missing = result(slow, "errorRate").requests_missing
    said = judged(revision(5), revision(45), 3 + 2 * missing // 5, 100)
    assert result(slow, "errorRate").verdict is Verdict.HOLD
    passed = next(at for at, each in enumerate(said) if result(each, "errorRate").verdict is Verdict.PASS)
    assert 5 * (passed - 3) == pytest.approx(missing, rel=0.6)


def test_a_memory_of_another_version_is_judged_from_the_start() -> None:
    interval = Interval(revision(100), revision(900, 1))
    fresh = judge(interval, {}, DEFAULTS, 50)
    for memory in ({"v": 99}, {"errorRate": {"canary": [1, 2]}}, {**fresh.memory, "checks": {"errorRate": ["x"]}}):
        assert judge(interval, memory, DEFAULTS, 50).results == fresh.results


def test_what_is_no_evidence_is_read_as_none() -> None:
    for text in ("", "{", "[1, 2]", '"v"', "null", '{"v": 2'):
        assert read(text) == {}


def test_pods_that_do_not_tell_all_leave_the_revisions_judged() -> None:
    stable = revision(900, 1, pods=3)
    whole, some = (
        judged(revision(100), replace(stable, pods=pods), 12)[-1]
        for pods in (stable.pods, tuple(replace(pod, at_most={}, failures=None, by_class=None) for pod in stable.pods))
    )
    assert whole.verdict is some.verdict is Verdict.PASS
    for name in ("latency", "inferenceFailures", "predictionDrift"):
        assert result(some, name).good == pytest.approx(result(whole, name).good, rel=0.01)


def test_the_memory_is_small() -> None:
    settings = Analysis(checks=Checks(accuracy=AccuracyCheck()))
    features = {name: spread(10**6, 10**6) for name in ("sepal_length", "sepal_width", "petal_length", "petal_width")}
    canary, stable = (replace(_labelled(revision(n), n - 4, 4), features=features) for n in (100, 900))
    assert len(written(judged(canary, stable, 30, settings=settings)[-1].memory)) < 4096


def test_pods_whose_counts_cannot_be_tell_nothing_of_the_noise() -> None:
    stable = revision(900, 9)
    odd = tuple(replace(revision(300, 3), failures=failures) for failures in (300, -1))
    with_odd, without = (judged(revision(100, 1), replace(stable, pods=pods), 5)[-1] for pods in (odd, ()))
    assert with_odd.results == without.results


def test_all_of_the_traffic_is_earned_by_all_of_the_rollout() -> None:
    before = judged(revision(100), revision(900, 1), 12)[-1]
    following = Interval(revision(100), revision(900, 1))
    whole = judge(following, before.memory, DEFAULTS, 100)
    alone = judge(following, learn(revision(900, 1), {}, DEFAULTS), DEFAULTS, 100)
    for name in ("latency", "predictionDrift"):
        assert (result(whole, name).good or 0.0) > 10 * (result(alone, name).good or 0.0)


def test_one_failing_check_is_enough_and_passing_takes_all() -> None:
    assert combine([Verdict.PASS, Verdict.FAIL, Verdict.ERROR]) is Verdict.FAIL
    assert combine([Verdict.PASS, Verdict.ERROR, Verdict.NO_DATA]) is Verdict.ERROR
    assert combine([Verdict.PASS, Verdict.HOLD]) is Verdict.HOLD
    assert combine([Verdict.PASS, Verdict.PASS]) is Verdict.PASS
    assert combine([]) is Verdict.NO_DATA


def test_without_counts_every_check_says_the_same_and_forgets_nothing() -> None:
    memory = taught()
    judgement = unjudged(Verdict.ERROR, "Prometheus is away", memory, DEFAULTS)
    assert {each.reason for each in judgement.results} == {"Prometheus is away"}
    assert judgement.memory == memory


def test_the_evidence_of_a_shift_is_for_the_shift_that_was_asked_for() -> None:
    wide = Analysis(checks=Checks(prediction_drift=PredictionDriftCheck(max_shift=0.9)))
    moved = revision(100, classes={"a": 60, "b": 20, "c": 20})
    assert Verdict.FAIL not in verdicts(judged(moved, revision(900, 1), 30, settings=wide))


def _labelled(counts: RequestCounts, right: int, wrong: int) -> RequestCounts:
    return RequestCounts(**{**vars(counts), "correct": right, "incorrect": wrong})
