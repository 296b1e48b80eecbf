"""The checkpoint in the status is bounded whatever is measured, and exact for what releases usually measure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from iris_operator.analysis.checkpoint import MAX_SIZE, parse, serialize
from iris_operator.analysis.checks.feature_drift import MAX_SIZE as MAX_FEATURES_SIZE
from iris_operator.analysis.counts import Bin, Interval, RequestCounts
from iris_operator.analysis.judge import Judgement, judge, update_baseline
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.checks import AccuracyCheck, Analysis, Checks, CustomCheck
from support.operator.observed import revision

TENTHS = (*(Bin(float(at), 0.1) for at in range(9)), Bin(math.inf, 0.1))
LABELLED = Analysis(checks=Checks(accuracy=AccuracyCheck()))


def features(number: int, rng: np.random.Generator, moved: int = 0) -> Mapping[str, Mapping[Bin, int]]:
    """Features with ten bins; the first `moved` of them have all values in one."""
    counts = {
        f"feature_number_{at:04d}": rng.multinomial(100_000, [0.1] * 10).tolist()
        if at >= moved
        else [0] * 9 + [100_000]
        for at in range(number)
    }
    return {name: dict(zip(TENTHS, each, strict=True)) for name, each in counts.items()}


def wide(requests: int, classes: int) -> RequestCounts:
    """Counts with so many classes, and the most bounds and tiers that are stored."""
    at_most = {0.001 * (at + 1) + 1e-9 / 3: requests * (at + 1) // 40 for at in range(40)}
    return replace(
        revision(requests),
        at_most=at_most,
        timed=requests,
        seconds=requests * 0.0123456789,
        cached={
            tier: {**{bound: count // 3 for bound, count in at_most.items()}, math.inf: requests // 3}
            for tier in ("local", "none", "redis")
        },
        by_class={f"class-{'x' * 50}-{at:04d}": requests // classes for at in range(classes)},
        correct=requests - 3,
        incorrect=3,
    )


def judged(canary: RequestCounts, stable: RequestCounts, settings: Analysis, times: int) -> Judgement:
    """The last judgement of so many equal intervals."""
    checkpoint = update_baseline(stable, {}, settings)
    custom = {check.name: 5.0 for check in settings.checks.custom}
    judgement = None
    for _ in range(times):
        judgement = judge(Interval(canary, stable, custom=custom), checkpoint, settings, 50)
        checkpoint = parse(serialize(judgement.checkpoint))
    assert judgement is not None
    return judgement


def test_the_checkpoint_is_bounded_with_3000_features_1000_classes_and_50_custom_checks() -> None:
    rng = np.random.default_rng(1)
    custom = [CustomCheck(name=f"custom{at:03d}", query="q", max=1, breaches=9) for at in range(50)]
    checks = LABELLED.checks.model_copy(update={"custom": custom})
    settings = LABELLED.model_copy(update={"checks": checks})
    canary = replace(wide(10**8, 1000), features=features(3000, rng))
    stable = replace(wide(9 * 10**8, 1000), features=features(3000, rng))
    judgement = judged(canary, stable, settings, 3)
    text = serialize(judgement.checkpoint)
    assert judgement.counted
    assert len(judgement.checkpoint["custom"]) == 50
    assert len(judgement.checkpoint["features"]) > 25
    assert len(text.encode()) <= MAX_SIZE


def test_a_checkpoint_of_3000_features_is_bounded_when_it_is_read_again() -> None:
    rng = np.random.default_rng(2)
    every, few = features(3000, rng), features(3, rng)
    grown = judged(replace(revision(100), features=few), replace(revision(900), features=few), LABELLED, 1).checkpoint
    grown = {**grown, "features": {name: list(bins.values()) for name, bins in every.items()}}
    interval = Interval(replace(revision(100), features=every), replace(revision(900), features=every))
    assert len(serialize(judge(interval, grown, LABELLED, 50).checkpoint)) <= MAX_SIZE


def test_features_that_moved_are_kept_among_3000_and_the_status_names_ten() -> None:
    rng = np.random.default_rng(3)
    canary = replace(revision(100), features=features(3000, rng, moved=12))
    stable = replace(revision(900), features=features(3000, rng, moved=12))
    judgement = judged(canary, stable, LABELLED, 3)
    drift = next(each for each in judgement.results if each.name == "featureDrift")
    assert drift.verdict is Verdict.PASS
    assert drift.reason.startswith("unlike the training data: feature_number_0000 has 100 % of 600,000 values above 8")
    assert drift.reason.count("feature_number_") == 10
    assert "and 2 further features" in drift.reason
    assert len(drift.reason) < 1000


def test_up_to_the_usual_number_of_features_every_value_is_counted() -> None:
    rng = np.random.default_rng(4)
    few = features(40, rng)
    both = replace(revision(100), features=few), replace(revision(900), features=few)
    stored = judged(*both, LABELLED, 4).checkpoint["features"]
    assert stored == {name: [8 * count for count in bins.values()] for name, bins in few.items()}
    assert len(serialize({"features": stored})) <= MAX_FEATURES_SIZE
