"""From counts to the means of durations and to how much pods differ."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from iris_operator.analysis.arrays import POD_VARIANCE
from iris_operator.analysis.build_means import MIN_DISPERSION, mean_durations, pod_spread, squared_variation
from iris_operator.analysis.counts import RequestCounts
from support.operator.drawn import drawn_pod, pooled


def pod(requests: int, mean: float) -> RequestCounts:
    return RequestCounts({"200": requests}, {0.1: requests}, requests, seconds=requests * mean)


@pytest.mark.parametrize("sigma", [0.6, 0.9])
def test_the_variation_of_single_requests_is_about_that_of_their_durations(sigma: float) -> None:
    counts = drawn_pod(np.random.default_rng(1), 50_000, sigma=sigma)
    assert squared_variation(counts.at_most, counts.timed) == pytest.approx(math.exp(sigma**2) - 1.0, rel=0.35)


def test_requests_of_one_bucket_do_not_vary_and_none_have_no_variation() -> None:
    assert squared_variation({0.01: 0, 0.1: 50}, 50) == pytest.approx(0.0)
    assert squared_variation({0.01: 0, 0.1: 0}, 0) == 0.0
    assert squared_variation({}, 50) == 0.0


def test_requests_beyond_the_last_bound_are_in_the_tail() -> None:
    # 90 in the middle of the first bucket, 10 half above the last bound.
    mean = 0.9 * 0.05 + 0.1 * 1.5
    second = 0.9 * 0.05**2 + 0.1 * 1.5**2
    assert squared_variation({0.1: 90, 1.0: 90, math.inf: 100}, 100) == pytest.approx(second / mean**2 - 1.0)


def test_pods_that_differ_as_usual_have_about_as_many_squares_as_degrees_of_freedom() -> None:
    rng = np.random.default_rng(5)
    pods = [pod(10**6, math.exp(rng.normal(0.0, math.sqrt(POD_VARIANCE)))) for _ in range(400)]
    squares, freedom = pod_spread(pods, 0.5)
    assert freedom == 399.0
    assert squares / freedom == pytest.approx(1.0, abs=0.2)


def test_the_squares_are_those_of_the_log_means_over_their_variance() -> None:
    squares, freedom = pod_spread([pod(100, 0.010), pod(100, 0.012)], 0.5)
    variance = POD_VARIANCE + 0.5 / 100
    assert squares == pytest.approx(math.log(1.2) ** 2 / 2 / variance)
    assert freedom == 1.0


def test_a_single_pod_and_pods_with_few_requests_or_without_seconds_say_nothing() -> None:
    assert pod_spread([pod(100, 0.01)], 0.5) == (0.0, 0.0)
    assert pod_spread([pod(100, 0.01), pod(9, 0.05), replace(pod(100, 0.05), seconds=None)], 0.5) == (0.0, 0.0)


def test_the_canary_is_compared_with_the_control_group_and_pods_only_within_their_group() -> None:
    canary, control = (pooled([pod(100, mean), pod(100, mean)]) for mean in (0.02, 0.01))
    production = [pod(500, 0.005)] * 3
    stable = pooled([*production, *control.pods])
    means = mean_durations(canary, stable, control)
    assert means.totals.tolist() == [pytest.approx([4.0, 200, 2.0, 200])]
    # Production is faster than the control group, and the canary slower: that is no difference between pods of one.
    assert means.spread.tolist() == [[pytest.approx(0.0), 4.0]]
    without = mean_durations(canary, stable, None)
    assert without.totals[0, 2:].tolist() == pytest.approx([9.5, 1700])
    assert without.spread[0, 0] > 10


def test_the_dispersion_has_a_least_value() -> None:
    same = pod(100, 0.05)
    assert mean_durations(same, same, None).dispersion.tolist() == [MIN_DISPERSION]
