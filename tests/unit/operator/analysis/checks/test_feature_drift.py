"""The traffic compared with the training data: reported with numbers, without any effect on the canary."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.counts import Bin, Interval
from iris_operator.analysis.judge import Judgement, judge, update_baseline
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.checks import Analysis
from support.operator.observed import QUARTERS, revision, spread

Features = Mapping[str, Mapping[Bin, int]] | None
SETTINGS = Analysis()


def judged(canary: Features, stable: Features, times: int = 6) -> Judgement:
    """The judgement of a healthy canary after a number of equal intervals."""
    both = Interval(replace(revision(100), features=canary), replace(revision(900, 1), features=stable))
    checkpoint = update_baseline(replace(revision(900, 1), features=stable), {}, SETTINGS)
    for _ in range(times - 1):
        checkpoint = json.loads(json.dumps(judge(both, checkpoint, SETTINGS, 50).checkpoint))
    return judge(both, checkpoint, SETTINGS, 50)


def feature_drift(judgement: Judgement) -> CheckResult:
    return next(each for each in judgement.results if each.name == "featureDrift")


def test_traffic_like_the_training_data_is_reported_with_the_largest_difference() -> None:
    judgement = judged({"petal": spread(96, 4)}, {"petal": spread(896, 4)})
    assert feature_drift(judgement).verdict is Verdict.PASS
    assert feature_drift(judgement).reason == (
        "the requests look like the training data, the least so: petal has 0.8 % of 6,000 values above 5, "
        "0 % in training (reported, not judged)"
    )


def test_traffic_that_moved_is_reported_by_bin_and_fails_no_release() -> None:
    judgement = judged({"petal": spread(0, 100), "sepal": spread(100)}, {"petal": spread(0, 900), "sepal": spread(900)})
    assert feature_drift(judgement).reason == (
        "unlike the training data: petal has 100 % of 6,000 values above 5, 0 % in training (reported, not judged)"
    )
    assert feature_drift(judgement).verdict is Verdict.PASS
    assert judgement.verdict is Verdict.PASS


def test_a_bin_is_described_by_its_bounds() -> None:
    low, middle = (dict.fromkeys(QUARTERS, 0) | {QUARTERS[at]: 100} for at in (0, 2))
    reason = feature_drift(judged({"a": low, "b": middle}, None)).reason
    assert (
        "a has 100 % of 600 values up to 1, 0 % in training; b has 100 % of 600 values between 2 and 3, 25 %" in reason
    )


def test_a_difference_in_few_requests_may_be_chance() -> None:
    few = dict.fromkeys(QUARTERS, 0) | {QUARTERS[1]: 2, QUARTERS[2]: 1}
    assert "look like the training data" in feature_drift(judged({"petal": few}, None, times=1)).reason
    assert "unlike" in feature_drift(judged({"petal": few}, None, times=60)).reason


def test_a_small_difference_is_not_reported_however_significant_it_is() -> None:
    slightly = dict(zip(QUARTERS, (0, 33_000, 23_000, 22_000, 22_000, 0), strict=True))
    assert "look like the training data" in feature_drift(judged({"petal": slightly}, None)).reason


def test_without_training_data_of_the_canary_feature_drift_has_no_data_and_holds_nothing() -> None:
    nothing: tuple[Features, ...] = (None, {})
    for canary in nothing:
        judgement = judged(canary, {"petal": spread(0, 900)})
        assert feature_drift(judgement).verdict is Verdict.NO_DATA
        assert (
            "no training shares of the canary revision: the manifest of its model has none"
            in feature_drift(judgement).reason
        )
        assert judgement.verdict is Verdict.PASS


def test_before_the_first_value_feature_drift_has_no_data() -> None:
    result = feature_drift(judged({"petal": spread(0)}, {"petal": spread(0)}))
    assert (result.verdict, result.reason) == (Verdict.NO_DATA, "no values yet (reported, not judged)")


def test_stables_requests_count_only_if_its_bins_are_the_canarys() -> None:
    other = (*QUARTERS[:2], QUARTERS[2]._replace(up_to=3.5), *QUARTERS[3:])
    assert "of 6,000 values" in feature_drift(judged({"petal": spread(100)}, {"petal": spread(900)})).reason
    assert "of 600 values" in feature_drift(judged({"petal": spread(100)}, {"petal": spread(900, bins=other)})).reason


def test_a_feature_with_other_bins_than_the_checkpoints_is_counted_anew() -> None:
    halves = (Bin(3.0, 0.5), Bin(math.inf, 0.5))
    before, after = (
        Interval(replace(revision(100), features={"petal": spread(100, bins=bins)}), revision(900, 1))
        for bins in (QUARTERS, halves)
    )
    checkpoint = judge(before, {}, SETTINGS, 50).checkpoint
    assert "50 % of 100 values up to 3" in feature_drift(judge(after, checkpoint, SETTINGS, 50)).reason


def test_a_recording_without_features_has_no_feature_drift() -> None:
    both = Interval(revision(100), revision(900, 1))
    assert "featureDrift" not in {each.name for each in judge(both, {}, SETTINGS, 50, ["errorRate"]).results}
