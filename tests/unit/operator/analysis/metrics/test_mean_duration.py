"""Means of durations, where pods of one version differ."""

from __future__ import annotations

import math

import numpy as np
import pytest

from iris_operator.analysis.arrays import POD_VARIANCE, IntervalArrays, MeanDurations, RevisionArrays, State
from iris_operator.analysis.check import Shape
from iris_operator.analysis.checks.latency import Latency
from iris_operator.analysis.evidence.logspace import Floats
from iris_operator.analysis.metrics.durations import lasting_difference
from iris_operator.analysis.metrics.mean_duration import MeanDuration, compare, lasting_variance
from iris_operator.api.checks import LatencyCheck
from support.operator.drawn import BOUNDS

LEVEL = 0.05
NORMAL = np.ones(1, dtype=np.bool_)
METRIC = MeanDuration(1.25, 0.001)


def arrays(totals: Floats, spread: Floats | None = None, pods: int = 1, next_share: float = 1.0) -> IntervalArrays:
    """Means as `MeanDurations.totals` has them, by release; the rest does not matter."""
    releases = len(totals)
    many = np.full(releases, float(pods))
    return IntervalArrays(
        canary=RevisionArrays(totals[:, 1], np.zeros(releases)),
        stable=RevisionArrays(totals[:, 3], np.zeros(releases)),
        pods=None,
        canary_pods=many,
        stable_pods=many,
        next_share=np.full(releases, next_share),
        step_changed=np.zeros(releases, dtype=np.bool_),
        means=MeanDurations(totals, np.full(releases, 0.5), np.zeros((releases, 2)) if spread is None else spread),
    )


def of_ratio(ratio: float | Floats, requests: float = 100.0, releases: int = 1) -> Floats:
    totals = np.full((releases, 4), requests)
    totals[:, 0], totals[:, 2] = LEVEL * requests * ratio, LEVEL * requests
    return totals


def run(ratio: float, intervals: int, pods: int = 1, requests: float = 100.0) -> tuple[float, float]:
    """log evidence to roll back and to promote, at the end."""
    state = METRIC.initial_state(1)
    evidence = None
    for _ in range(intervals):
        state, evidence = METRIC.update(state, arrays(of_ratio(ratio, requests), pods=pods), NORMAL)
    assert evidence is not None
    return float(evidence.regression[0]), float(evidence.noninferiority[0])


def test_pods_that_differ_by_a_tenth_for_good_are_not_rolled_back_however_long() -> None:
    rng = np.random.default_rng(3)
    releases, production = 300, 6
    lasting = rng.normal(0.0, 0.1, (releases, 2))
    others = rng.normal(0.0, 0.1, (releases, production))
    state, worst = METRIC.initial_state(releases), np.zeros(releases)
    normal = np.ones(releases, dtype=np.bool_)
    for _ in range(400):
        ratio = np.exp(lasting[:, 0] - lasting[:, 1] + rng.normal(0.0, 0.05, releases))
        totals = of_ratio(ratio, 200.0, releases)
        squares = ((others - others.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) / (POD_VARIANCE + 0.5 / 200)
        spread = np.stack([squares, np.full(releases, production - 1.0)], axis=1)
        state, evidence = METRIC.update(state, arrays(totals, spread), normal)
        worst = np.maximum(worst, evidence.regression)
    # The metric has about a quarter of the evidence: its threshold is 400:1.
    assert (worst >= math.log(400.0)).sum() <= 3


def test_a_version_that_is_much_slower_is_rolled_back_and_an_equal_one_passes() -> None:
    slow, _ = run(2.0, 20)
    assert slow > math.log(400.0)
    equal, good = run(1.0, 20)
    assert equal < 0.0
    assert good > math.log(20.0)


def test_evidence_does_not_grow_with_requests_beyond_what_pods_differ_by() -> None:
    # 20 % slower, one pod in each arm: within three deviations of what lasts.
    assert run(1.2, 400, requests=10_000.0)[0] < 0.0
    assert run(1.2, 400, pods=20, requests=10_000.0)[0] > math.log(400.0)


def test_what_lasts_is_less_with_more_pods() -> None:
    state = METRIC.initial_state(1)
    few, many = (float(lasting_difference(state, np.array([n]), np.array([n]))[0]) for n in (1.0, 4.0))
    assert many == pytest.approx(few / 2)


def with_spread(ratio: float, freedom: float = 9.0, looks: int = 10) -> State:
    return {**METRIC.initial_state(1), "spread": np.array([[ratio * freedom * looks, freedom * looks, looks]])}


def test_pods_that_differ_more_than_usual_widen_what_is_tolerated_and_alike_ones_narrow_it() -> None:
    alike, usual, unlike = (float(lasting_variance(with_spread(ratio))[0]) for ratio in (0.1, 1.0, 4.0))
    assert alike < usual < unlike
    assert usual == pytest.approx(float(lasting_variance(METRIC.initial_state(1))[0]))
    bounds = [float(METRIC.rollback_bound(np.array([1.0]), np.sqrt(np.array([v])))[0]) for v in (alike, usual, unlike)]
    assert bounds == sorted(bounds)


def test_many_looks_at_the_same_few_pods_count_like_a_few() -> None:
    once, often = (float(lasting_variance(with_spread(4.0, freedom=1.0, looks=looks))[0]) for looks in (1, 1000))
    assert often == pytest.approx(once)


def test_noise_from_interval_to_interval_widens_the_next_comparison() -> None:
    def noise_after(ratios: list[float]) -> float:
        state = METRIC.initial_state(1)
        for ratio in ratios:
            state, _ = METRIC.update(state, arrays(of_ratio(ratio)), NORMAL)
        means = arrays(of_ratio(1.0)).means
        assert means is not None
        return float(compare(state, means, np.ones(1), np.ones(1)).noise[0])

    assert noise_after([1.0, 1.0] * 10) < noise_after([]) < noise_after([0.5, 2.0] * 10)


def test_small_intervals_are_joined_to_what_one_larger_interval_says() -> None:
    small, large = METRIC.initial_state(1), METRIC.initial_state(1)
    totals = of_ratio(1.1, requests=2.0)
    for _ in range(2):
        small, _ = METRIC.update(small, arrays(totals), NORMAL)
    small, evidence = METRIC.update(small, arrays(totals), NORMAL)
    large, at_once = METRIC.update(large, arrays(3 * totals), NORMAL)
    assert float(evidence.noninferiority[0]) == pytest.approx(float(at_once.noninferiority[0]))
    assert small["totals"][0].tolist() == pytest.approx(large["totals"][0].tolist())


def test_an_interval_in_trouble_is_forgotten_together_with_what_waited_for_it() -> None:
    state, _ = METRIC.update(METRIC.initial_state(1), arrays(of_ratio(5.0, requests=2.0)), NORMAL)
    assert state["pending"].any()
    state, evidence = METRIC.update(state, arrays(of_ratio(5.0)), ~NORMAL)
    assert not state["pending"].any()
    assert not state["totals"].any()
    assert float(evidence.regression[0]) == 0.0


def test_requests_without_a_duration_are_no_evidence() -> None:
    totals = of_ratio(0.0)
    state, evidence = METRIC.update(METRIC.initial_state(1), arrays(totals), NORMAL)
    assert not state["totals"].any()
    assert float(evidence.noninferiority[0]) == 0.0


def test_the_resolution_says_what_is_not_told_apart_and_how_many_pods_would_do() -> None:
    check = Latency(LatencyCheck(), Shape(BOUNDS, control=True, sums=True))
    state = check.metric().initial_state(1)
    one = check.resolution(state, (1, 1))
    assert one == (
        "pods of one version differ by about 5 %: with 1 canary and 1 control pod, a version that is slower by less "
        "than 34 % or 5 ms is not told from an equal one; with 3 pods each it is 23 %"
    )
    assert "with 20 canary and 20 control pods, a version that is slower by less than 14 %" in check.resolution(
        state, (20, 20)
    )
    without = Latency(LatencyCheck(), Shape(BOUNDS, control=True))
    assert without.resolution(without.metric().initial_state(1), (1, 1)) == ""
