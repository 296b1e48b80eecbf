"""The traffic beside the training data: said with numbers, and without any say in what becomes of the canary."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.counts import Bin, Interval
from iris_operator.analysis.judge import Judgement, judge, learn
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.spec import Analysis
from unit.operator.analysis.observed import QUARTERS, revision, spread

Features = Mapping[str, Mapping[Bin, int]] | None
SETTINGS = Analysis()


def judged(canary: Features, stable: Features, times: int = 6) -> Judgement:
    """What is said of a healthy canary after so many intervals like this one."""
    both = Interval(replace(revision(100), features=canary), replace(revision(900, 1), features=stable))
    memory = learn(replace(revision(900, 1), features=stable), {}, SETTINGS)
    for _ in range(times - 1):
        memory = json.loads(json.dumps(judge(both, memory, SETTINGS, 50).memory))
    return judge(both, memory, SETTINGS, 50)


def told(judgement: Judgement) -> CheckResult:
    return next(each for each in judgement.results if each.name == "featureDrift")


def test_traffic_like_the_training_data_is_said_to_be_with_the_largest_difference() -> None:
    said = judged({"petal": spread(96, 4)}, {"petal": spread(896, 4)})
    assert told(said).verdict is Verdict.PASS
    assert told(said).reason == (
        "the requests look like the training data, the least so: petal has 0.8 % of 6,000 values above 5, "
        "0 % in training (reported, not judged)"
    )


def test_traffic_that_moved_is_reported_by_bin_and_blames_nobody() -> None:
    said = judged({"petal": spread(0, 100), "sepal": spread(100)}, {"petal": spread(0, 900), "sepal": spread(900)})
    assert told(said).reason == (
        "unlike the training data: petal has 100 % of 6,000 values above 5, 0 % in training (reported, not judged)"
    )
    assert told(said).verdict is Verdict.PASS
    assert said.verdict is Verdict.PASS


def test_the_place_of_a_bin_is_told_in_the_features_own_numbers() -> None:
    low, middle = (dict.fromkeys(QUARTERS, 0) | {QUARTERS[at]: 100} for at in (0, 2))
    said = told(judged({"a": low, "b": middle}, None)).reason
    assert "a has 100 % of 600 values up to 1, 0 % in training; b has 100 % of 600 values between 2 and 3, 25 %" in said


def test_what_few_requests_look_like_may_be_chance() -> None:
    few = dict.fromkeys(QUARTERS, 0) | {QUARTERS[1]: 2, QUARTERS[2]: 1}
    assert "look like the training data" in told(judged({"petal": few}, None, times=1)).reason
    assert "unlike" in told(judged({"petal": few}, None, times=60)).reason


def test_a_small_difference_is_not_worth_a_word_however_certain_it_is() -> None:
    slightly = dict(zip(QUARTERS, (0, 33_000, 23_000, 22_000, 22_000, 0), strict=True))
    assert "look like the training data" in told(judged({"petal": slightly}, None)).reason


def test_without_training_data_of_the_canary_there_is_nothing_to_report_and_nothing_waits_for_it() -> None:
    nothing: tuple[Features, ...] = (None, {})
    for canary in nothing:
        said = judged(canary, {"petal": spread(0, 900)})
        assert told(said).verdict is Verdict.NO_DATA
        assert "no training shares of the canary revision: the manifest of its model has none" in told(said).reason
        assert said.verdict is Verdict.PASS


def test_before_the_first_value_nothing_is_said_of_the_traffic() -> None:
    said = told(judged({"petal": spread(0)}, {"petal": spread(0)}))
    assert (said.verdict, said.reason) == (Verdict.NO_DATA, "no values yet (reported, not judged)")


def test_stables_requests_count_only_in_bins_that_are_the_canarys() -> None:
    other = (*QUARTERS[:2], QUARTERS[2]._replace(up_to=3.5), *QUARTERS[3:])
    assert "of 6,000 values" in told(judged({"petal": spread(100)}, {"petal": spread(900)})).reason
    assert "of 600 values" in told(judged({"petal": spread(100)}, {"petal": spread(900, bins=other)})).reason


def test_a_memory_with_other_bins_is_counted_anew() -> None:
    halves = (Bin(3.0, 0.5), Bin(math.inf, 0.5))
    before, after = (
        Interval(replace(revision(100), features={"petal": spread(100, bins=bins)}), revision(900, 1))
        for bins in (QUARTERS, halves)
    )
    memory = judge(before, {}, SETTINGS, 50).memory
    assert "50 % of 100 values up to 3" in told(judge(after, memory, SETTINGS, 50)).reason


def test_a_recording_that_has_no_features_says_nothing_of_them() -> None:
    both = Interval(revision(100), revision(900, 1))
    assert "featureDrift" not in {each.name for each in judge(both, {}, SETTINGS, 50, ["errorRate"]).results}
