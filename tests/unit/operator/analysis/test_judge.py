from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.checkpoint import parse, serialize
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.judge import Judgement, judge, judge_fleet, unjudged, update_baseline
from iris_operator.analysis.prepare import AnalysisInput
from iris_operator.analysis.verdict import Verdict, combine
from iris_operator.api.checks import (
    AccuracyCheck,
    Analysis,
    Checks,
    CustomCheck,
    ErrorRateCheck,
    LatencyCheck,
    PredictionDriftCheck,
)
from support.operator.observed import revision, spread

DEFAULTS = Analysis()


def baseline_checkpoint(settings: Analysis = DEFAULTS) -> Mapping[str, Any]:
    checkpoint: Mapping[str, Any] = {}
    for _ in range(5):
        checkpoint = update_baseline(revision(900, 1, pods=5), checkpoint, settings)
    return checkpoint


def judged(
    canary: RequestCounts,
    stable: RequestCounts,
    times: int = 6,
    next_weight: int = 50,
    settings: Analysis = DEFAULTS,
    **more: Any,
) -> list[Judgement]:
    checkpoint, judgements = baseline_checkpoint(settings), []
    for _ in range(times):
        judgement = judge(Interval(canary, stable, **more), checkpoint, settings, next_weight)
        checkpoint = judgement.checkpoint
        judgements.append(judgement)
    return judgements


def result(judgement: Judgement, name: str) -> CheckResult:
    return next(each for each in judgement.results if each.name == name)


def verdicts(judgements: Sequence[Judgement]) -> list[Verdict]:
    return [judgement.verdict for judgement in judgements]


def test_a_canary_like_stable_passes_and_is_never_failed() -> None:
    judgements = judged(revision(100), revision(900, 1))
    assert judgements[-1].verdict is Verdict.PASS
    assert Verdict.FAIL not in verdicts(judgements)


def test_errors_fail_with_a_sentence_that_has_the_numbers() -> None:
    judgements = judged(revision(100, 5), revision(900, 1))
    failed = next(each for each in judgements if each.verdict is Verdict.FAIL)
    reason = result(failed, "errorRate").reason
    assert reason.startswith("canary 5xx 5 % of ")
    assert "stable 0.11 % of " in reason
    assert "more than stable's with evidence" in reason
    assert reason.endswith("needed 100:1")


def test_one_error_does_not_fail() -> None:
    checkpoint = baseline_checkpoint()
    first = judge(Interval(revision(100, 1), revision(900, 1)), checkpoint, DEFAULTS, 50)
    assert first.verdict is not Verdict.FAIL


def test_a_wider_ratio_tolerates_what_a_narrow_one_rolls_back() -> None:
    wide = Analysis(checks=Checks(error_rate=ErrorRateCheck(max_ratio=40.0), inference_failures={"maxRatio": 40.0}))
    assert Verdict.FAIL in verdicts(judged(revision(100, 2), revision(900, 1), 12))
    assert Verdict.FAIL not in verdicts(judged(revision(100, 2), revision(900, 1), 12, settings=wide))


def test_a_smaller_next_step_needs_fewer_requests() -> None:
    def needed(next_weight: int) -> int:
        judgements = judged(revision(20), revision(180), 200, next_weight)
        return next(
            at for at, judgement in enumerate(judgements) if result(judgement, "errorRate").verdict is Verdict.PASS
        )

    assert needed(10) < needed(50) < needed(100)


def test_a_shift_of_all_durations_and_a_longer_tail_both_fail() -> None:
    # Across two bounds: more lie over 100 ms than of stable over 25 ms; more over 500 ms than of stable over 100 ms.
    mix = {"a": 40, "b": 30, "c": 30}
    moved = RequestCounts({"200": 100}, {0.005: 0, 0.025: 10, 0.1: 30, 0.5: 100}, 100, 0, mix)
    longer_tail = RequestCounts({"200": 100}, {0.005: 0, 0.025: 62, 0.1: 92, 0.5: 92}, 100, 0, mix)
    for canary in (moved, longer_tail):
        failed = [each for each in judged(canary, revision(900, 1), 20) if each.verdict is Verdict.FAIL]
        assert failed
        assert "slower than stable" in result(failed[0], "latency").reason


def test_a_slowness_within_a_third_of_the_margin_is_not_rolled_back() -> None:
    # About five times slower: 60 % of the requests over 100 ms, where 34 % of stable's are over 25 ms.
    slower = RequestCounts({"200": 100}, {0.005: 0, 0.025: 20, 0.1: 40, 0.5: 100}, 100, 0, {"a": 40, "b": 30, "c": 30})
    wide = Analysis(checks=Checks(latency=LatencyCheck(max_slower=16.0)))
    assert Verdict.FAIL in verdicts(judged(slower, revision(900, 1), 60))
    judgements = judged(slower, revision(900, 1), 60, settings=wide)
    assert Verdict.FAIL not in verdicts(judgements)
    assert judgements[-1].verdict is Verdict.PASS


def test_a_mix_of_classes_that_moved_fails_in_either_direction() -> None:
    # The last one loses 12 points, and no class gains more than the 5 that are nobody's fault, or little more.
    for classes in ({"a": 60, "b": 20, "c": 20}, {"a": 20, "b": 40, "c": 40}, {"a": 28, "b": 36, "c": 36}):
        judgements = judged(revision(100, classes=classes), revision(900, 1), 30)
        failed = next(each for each in judgements if each.verdict is Verdict.FAIL)
        assert "class " in result(failed, "predictionDrift").reason


def test_a_class_that_stable_never_predicts_counts_among_the_others() -> None:
    judgements = judged(revision(100, classes={"a": 40, "b": 30, "weed": 30}), revision(900, 1), 30)
    assert judgements[-1].verdict is Verdict.FAIL
    assert Verdict.PASS not in verdicts(judgements)


def test_labels_that_call_the_canary_wrong_fail_it() -> None:
    settings = Analysis(checks=Checks(accuracy=AccuracyCheck(max_drop=0.05)))
    canary, stable = (_labelled(revision(n), right, wrong) for n, right, wrong in ((100, 80, 20), (900, 864, 36)))
    judgements = judged(canary, stable, 12, settings=settings)
    failed = next(each for each in judgements if each.verdict is Verdict.FAIL)
    assert "wrong more often than stable" in result(failed, "accuracy").reason


def test_pairs_count_when_both_versions_answer_the_same_requests() -> None:
    settings = Analysis(checks=Checks(accuracy=AccuracyCheck(max_drop=0.05)))
    canary, stable = (_labelled(revision(n), n - n // 25, n // 25) for n in (100, 900))
    judgements = judged(canary, stable, 12, settings=settings, paired=(9, 1))
    assert Verdict.FAIL in verdicts(judgements)
    assert Verdict.FAIL not in verdicts(judged(canary, stable, 12, settings=settings, paired=(5, 5)))


def durations(within: Mapping[float, int], requests: int) -> RequestCounts:
    plain = revision(requests)
    return replace(plain, at_most={**dict.fromkeys((0.005, 0.025, 0.1, 0.5), requests), **within})


def test_a_busy_hour_is_not_an_incident_but_three_times_the_latency_is() -> None:
    # All requests take about 10 ms: a little slower is slower than all of the earlier ones.
    usual = {0.005: 0, 0.025: 900}
    checkpoint: Mapping[str, Any] = {}
    for _ in range(5):
        checkpoint = update_baseline(durations(usual, 900), checkpoint, DEFAULTS)
    busy, slow = ({0.005: 0, 0.025: share} for share in (300, 100))
    stable_incidents = [
        judge(
            Interval(durations({0.005: 0, 0.025: 80}, 100), durations(within, 900)), checkpoint, DEFAULTS, 50
        ).stable_incident
        for within in (usual, busy, slow)
    ]
    assert stable_incidents == [False, False, True]


def test_the_reason_of_an_incident_without_failures_has_the_durations() -> None:
    crawling = judged(revision(100, slow=80), revision(900, slow=700), 1)[0]
    assert "canary 5xx 0 % of 100 requests, half of them within 500 ms; stable 5xx 0 % of 900" in crawling.incident
    stuck = RequestCounts({"200": 900}, {0.005: 0, 0.025: 0, 0.1: 0, 0.5: 0}, 900, 0, {"a": 900})
    assert (
        "stable 5xx 0 % of 900 requests, half of them over 500 ms"
        in judged(revision(100, slow=80), stuck, 1)[0].incident
    )


def test_an_incident_of_both_versions_holds_and_is_reported() -> None:
    judgements = judged(revision(100, 20), revision(900, 180))
    assert set(verdicts(judgements)) == {Verdict.HOLD}
    assert judgements[0].incident == (
        "both versions are in trouble at once (in this interval: canary 5xx 20 % of 100 requests, half of them within "
        "25 ms; stable 5xx 20 % of 900 requests, half of them within 25 ms)"
    )
    assert "both versions are in trouble in this interval" in result(judgements[0], "errorRate").reason


def test_an_incident_does_not_hide_a_canary_that_is_worse_still() -> None:
    assert Verdict.FAIL in verdicts(judged(revision(100, 90), revision(900, 180)))


def test_a_slow_stable_version_holds_a_canary_that_is_slow_too() -> None:
    canary, stable = (
        RequestCounts({"200": n}, {0.005: 0, 0.025: 0, 0.1: 0, 0.5: n}, n, 0, {"a": n}) for n in (100, 900)
    )
    judgements = judged(canary, stable)
    assert Verdict.FAIL not in verdicts(judgements)
    assert Verdict.PASS not in verdicts(judgements)
    assert judgements[0].incident


def test_dispersion_between_stables_pods_weakens_the_evidence() -> None:
    def evidence(pods: tuple[RequestCounts, ...]) -> float:
        checkpoint: Mapping[str, Any] = {}
        stable = revision(900, 9)
        stable = RequestCounts(**{**vars(stable), "pods": pods})
        for _ in range(10):
            checkpoint = update_baseline(stable, checkpoint, DEFAULTS)
        judgement = judge(Interval(revision(100, 5), stable), checkpoint, DEFAULTS, 50)
        return result(judgement, "errorRate").regression_e_value or 0.0

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
def test_no_data_of_a_custom_query_means_what_its_setting_says(no_data: str, expected: Verdict) -> None:
    custom = CustomCheck.model_validate({"name": "cost", "query": "q", "max": 1, "noData": no_data})
    settings = Analysis(checks=Checks(custom=[custom]))
    judgements = judged(revision(100), revision(900, 1), settings=settings, custom={"cost": None})
    assert result(judgements[-1], "cost").verdict is expected


def test_a_custom_query_fails_after_a_number_of_breaches_in_a_row() -> None:
    settings = Analysis(checks=Checks(custom=[CustomCheck(name="cost", query="q", max=1.0, breaches=3)]))
    checkpoint, judgements = baseline_checkpoint(settings), []
    for value in (2.0, 2.0, 0.5, 2.0, 2.0, 2.0):
        judgement = judge(Interval(revision(100), revision(900, 1), custom={"cost": value}), checkpoint, settings, 50)
        checkpoint = judgement.checkpoint
        judgements.append(result(judgement, "cost").verdict)
    assert judgements == [Verdict.HOLD, Verdict.HOLD, Verdict.PASS, Verdict.HOLD, Verdict.HOLD, Verdict.FAIL]


def test_a_revision_without_series_is_no_data_and_keeps_the_checkpoint() -> None:
    checkpoint = baseline_checkpoint()
    for interval in (Interval(None, revision(9)), Interval(revision(9), None)):
        judgement = judge(interval, checkpoint, DEFAULTS, 50)
        assert (judgement.verdict, judgement.counted) == (Verdict.NO_DATA, False)
        assert judgement.checkpoint == checkpoint


def test_releases_with_different_numbers_of_pods_are_judged_together_as_alone() -> None:
    def analysis_input(pods: int) -> AnalysisInput:
        uneven = tuple(revision(300, 9 * number, slow=40 * number) for number in range(pods))
        stable = RequestCounts(**{**vars(revision(900, 9)), "pods": uneven})
        return AnalysisInput(Interval(revision(100, 1), stable), baseline_checkpoint(), DEFAULTS, 50)

    inputs = [analysis_input(pods) for pods in (0, 2, 3)]
    for _ in range(3):
        alone = [judge(each.interval, each.checkpoint, each.settings, each.next_weight) for each in inputs]
        together = judge_fleet(inputs)
        for one, other in zip(alone, together, strict=True):
            assert one.verdict is other.verdict
            for name, row in one.checkpoint["checks"].items():
                assert other.checkpoint["checks"][name] == pytest.approx(row, abs=1e-3)
        inputs = [
            AnalysisInput(each.interval, judgement.checkpoint, DEFAULTS, 50)
            for each, judgement in zip(inputs, alone, strict=True)
        ]


def test_a_missing_metric_prevents_promotion_but_not_rollback() -> None:
    without = RequestCounts(**{**vars(revision(100)), "by_class": None})
    assert judged(without, revision(900, 1))[-1].verdict is Verdict.NO_DATA
    broken = RequestCounts(**{**vars(revision(100, 60)), "by_class": None})
    assert judged(broken, revision(900, 1))[-1].verdict is Verdict.FAIL


def test_impossible_counts_are_an_error_and_are_not_counted() -> None:
    checkpoint = baseline_checkpoint()
    for wrong in (
        RequestCounts({"200": -1}),
        RequestCounts({"200": 9}, {0.1: 5, 0.5: 4}, 9),
        RequestCounts({"200": 9}, {0.1: 12}, 9),
    ):
        judgement = judge(Interval(wrong, revision(900)), checkpoint, DEFAULTS, 50)
        assert (judgement.verdict, judgement.counted) == (Verdict.ERROR, False)
        assert judgement.checkpoint == checkpoint


def test_checks_that_are_not_measured_are_left_out() -> None:
    judgement = judge(Interval(revision(100), revision(900)), {}, DEFAULTS, 50, {"errorRate"})
    assert [each.name for each in judgement.results] == ["errorRate"]


def test_a_hold_estimates_the_missing_requests() -> None:
    slow = judged(revision(5), revision(45), 3, 100)[-1]
    missing = result(slow, "errorRate").requests_missing
    judgements = judged(revision(5), revision(45), 3 + 2 * missing // 5, 100)
    assert result(slow, "errorRate").verdict is Verdict.HOLD
    passed = next(at for at, each in enumerate(judgements) if result(each, "errorRate").verdict is Verdict.PASS)
    assert 5 * (passed - 3) == pytest.approx(missing, rel=0.6)


def test_a_checkpoint_of_another_version_is_ignored() -> None:
    interval = Interval(revision(100), revision(900, 1))
    fresh = judge(interval, {}, DEFAULTS, 50)
    for checkpoint in (
        {"v": 99},
        {"errorRate": {"canary": [1, 2]}},
        {**fresh.checkpoint, "checks": {"errorRate": ["x"]}},
    ):
        assert judge(interval, checkpoint, DEFAULTS, 50).results == fresh.results


def test_a_text_that_is_no_checkpoint_is_parsed_as_an_empty_one() -> None:
    for text in ("", "{", "[1, 2]", '"v"', "null", '{"v": 2'):
        assert parse(text) == {}


def test_pods_that_lack_counts_do_not_prevent_a_judgement() -> None:
    stable = revision(900, 1, pods=3)
    whole, some = (
        judged(revision(100), replace(stable, pods=pods), 12)[-1]
        for pods in (stable.pods, tuple(replace(pod, at_most={}, failures=None, by_class=None) for pod in stable.pods))
    )
    assert whole.verdict is some.verdict is Verdict.PASS
    for name in ("latency", "inferenceFailures", "predictionDrift"):
        assert result(some, name).noninferiority_e_value == pytest.approx(
            result(whole, name).noninferiority_e_value, rel=0.01
        )


def test_the_checkpoint_is_small() -> None:
    settings = Analysis(checks=Checks(accuracy=AccuracyCheck()))
    features = {name: spread(10**6, 10**6) for name in ("sepal_length", "sepal_width", "petal_length", "petal_width")}
    canary, stable = (replace(_labelled(revision(n), n - 4, 4), features=features) for n in (100, 900))
    assert len(serialize(judged(canary, stable, 30, settings=settings)[-1].checkpoint)) < 4096


def test_impossible_counts_of_pods_do_not_change_the_dispersion() -> None:
    stable = revision(900, 9)
    odd = tuple(replace(revision(300, 3), failures=failures) for failures in (300, -1))
    # As many pods of which nothing is known; a single one would be compared with itself.
    idle = (revision(0), revision(0))
    with_odd, without = (judged(revision(100, 1), replace(stable, pods=pods), 5)[-1] for pods in (odd, idle))
    assert with_odd.results == without.results


def test_evidence_for_all_of_the_traffic_counts_from_the_rollouts_start() -> None:
    before = judged(revision(100), revision(900, 1), 12)[-1]
    following = Interval(revision(100), revision(900, 1))
    whole = judge(following, before.checkpoint, DEFAULTS, 100)
    alone = judge(following, update_baseline(revision(900, 1), {}, DEFAULTS), DEFAULTS, 100)
    for name in ("latency", "predictionDrift"):
        assert (result(whole, name).noninferiority_e_value or 0.0) > 10 * (
            result(alone, name).noninferiority_e_value or 0.0
        )


def test_one_failing_check_is_enough_and_passing_takes_all() -> None:
    assert combine([Verdict.PASS, Verdict.FAIL, Verdict.ERROR]) is Verdict.FAIL
    assert combine([Verdict.PASS, Verdict.ERROR, Verdict.NO_DATA]) is Verdict.ERROR
    assert combine([Verdict.PASS, Verdict.HOLD]) is Verdict.HOLD
    assert combine([Verdict.PASS, Verdict.PASS]) is Verdict.PASS
    assert combine([]) is Verdict.NO_DATA


def test_without_counts_every_check_has_the_same_result_and_the_checkpoint_stays() -> None:
    checkpoint = baseline_checkpoint()
    judgement = unjudged(Verdict.ERROR, "Prometheus is away", checkpoint, DEFAULTS)
    assert {each.reason for each in judgement.results} == {"Prometheus is away"}
    assert judgement.checkpoint == checkpoint


def test_a_wider_margin_tolerates_a_shift_of_classes() -> None:
    wide = Analysis(checks=Checks(prediction_drift=PredictionDriftCheck(max_shift=0.9)))
    moved = revision(100, classes={"a": 60, "b": 20, "c": 20})
    assert Verdict.FAIL not in verdicts(judged(moved, revision(900, 1), 30, settings=wide))


def _labelled(counts: RequestCounts, right: int, wrong: int) -> RequestCounts:
    return RequestCounts(**{**vars(counts), "correct": right, "incorrect": wrong})


def test_a_share_that_grows_with_the_pods_within_a_step_is_no_wrong_split() -> None:
    checkpoint, found = baseline_checkpoint(), []
    for share in [0.05] * 10 + [0.1] * 5:
        canary = round(1000 * share)
        interval = Interval(revision(canary), revision(1000 - canary, 1), weight=share)
        found.append(judge(interval, checkpoint, DEFAULTS, 50))
        checkpoint = found[-1].checkpoint
    split = result(found[-1], "trafficSplit")
    assert split.verdict is Verdict.PASS
    assert split.reason == "canary got 10 % of 4,000 requests, weight 10 %"
