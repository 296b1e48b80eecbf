"""Every e-value's expectation is at most 1 while its hypothesis holds: by summing over all outcomes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iris_operator.analysis.evidence.changepoint import (
    ChangepointMixture,
    MixtureUpdate,
    log_mixture_e_values,
    update_mixtures,
)
from iris_operator.analysis.evidence.combine import log_combined
from iris_operator.analysis.evidence.margin import log_difference_below, log_share_difference
from iris_operator.analysis.evidence.noninferiority import log_below_bound
from iris_operator.analysis.evidence.paired import log_paired
from iris_operator.analysis.evidence.ratio import log_overdispersed_ratio, log_rate_ratio
from iris_operator.analysis.evidence.split import log_split

AT_MOST_ONE = 1.0 + 1e-9
# No deadline: the sum takes longer on a machine that does other work at the same time.
EXACT = settings(max_examples=25, deadline=None)
shares = st.floats(0.01, 0.99)
sizes = st.integers(0, 7)


def binomial(n: int, p: float) -> list[float]:
    return [math.comb(n, x) * p**x * (1 - p) ** (n - x) for x in range(n + 1)]


def pairs(n_c: int, n_s: int, p_c: float, p_s: float) -> Iterator[tuple[int, int, float]]:
    """All outcomes of two binomial counts, with their probabilities."""
    for (x_c, one), (x_s, other) in itertools.product(enumerate(binomial(n_c, p_c)), enumerate(binomial(n_s, p_s))):
        yield x_c, x_s, one * other


@EXACT
@given(sizes, sizes, shares, st.floats(0, 1), st.floats(1.01, 500), st.floats(1, 4))
def test_f1_against_a_canary_within_the_ratio(
    n_c: int, n_s: int, p_s: float, part: float, effect: float, rho: float
) -> None:
    p_c = min(1.0, rho * p_s) * part
    expected = sum(
        probability * math.exp(float(log_rate_ratio(x_c, n_c, x_s, n_s, rho * effect, rho)))
        for x_c, x_s, probability in pairs(n_c, n_s, p_c, p_s)
    )
    assert expected <= AT_MOST_ONE


@EXACT
@given(sizes, sizes, shares, st.floats(0, 1), st.floats(0.01, 0.99))
def test_f1_for_noninferiority_against_a_canary_beyond_the_ratio(
    n_c: int, n_s: int, p_s: float, part: float, effect: float
) -> None:
    rho = 2.0
    low = min(1.0, rho * p_s)
    if low < rho * p_s:
        return  # no canary can exceed the ratio
    p_c = low + part * (1 - low)
    expected = sum(
        probability * math.exp(float(log_rate_ratio(x_c, n_c, x_s, n_s, rho * effect, rho)))
        for x_c, x_s, probability in pairs(n_c, n_s, p_c, p_s)
    )
    assert expected <= AT_MOST_ONE


@EXACT
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 12), st.floats(0.1, 50), st.floats(1.01, 300))
def test_f1_with_the_measured_dispersion_between_pods(
    pods_c: int, pods_s: int, events: int, shape: float, omega: float
) -> None:
    """With gamma variables on the pods' rates the canary's part of the events is beta-binomial, whatever the rate."""
    alpha, beta = shape * pods_c, shape * pods_s
    expected = 0.0
    for x in range(events + 1):
        log_probability = (
            math.log(math.comb(events, x)) + _log_beta(alpha + x, beta + events - x) - _log_beta(alpha, beta)
        )
        value = float(log_overdispersed_ratio(x, pods_c, events - x, pods_s, omega, 1.0, alpha + beta))
        expected += math.exp(log_probability + value)
    assert expected == pytest.approx(1.0, abs=1e-8)


@EXACT
@given(sizes, sizes, shares, st.floats(-1, 1), shares, shares, st.floats(0.01, 0.5))
def test_f3_against_a_difference_within_the_margin(
    n_c: int, n_s: int, p_s: float, part: float, theta_c: float, theta_s: float, delta: float
) -> None:
    p_c = min(1.0, max(0.0, p_s + min(part, 1.0) * delta))
    expected = sum(
        probability * math.exp(float(log_share_difference(x_c, n_c, x_s, n_s, (theta_c, theta_s), delta, 1.0)))
        for x_c, x_s, probability in pairs(n_c, n_s, p_c, p_s)
    )
    assert expected <= AT_MOST_ONE


@EXACT
@given(sizes, sizes, shares, st.floats(0, 1), shares, shares, st.floats(-0.3, 0.6))
def test_f3_for_noninferiority_against_a_difference_beyond_the_margin(
    n_c: int, n_s: int, p_s: float, part: float, theta_c: float, theta_s: float, delta: float
) -> None:
    low = p_s + delta
    if not 0 <= low <= 1:
        return
    p_c = low + part * (1 - low)
    expected = sum(
        probability * math.exp(float(log_difference_below(x_c, n_c, x_s, n_s, (theta_c, theta_s), delta)))
        for x_c, x_s, probability in pairs(n_c, n_s, p_c, p_s)
    )
    assert expected <= AT_MOST_ONE


@EXACT
@given(st.integers(0, 30), st.floats(0.001, 0.9), st.floats(0, 1))
def test_f7_against_a_rate_at_or_beyond_the_tolerated_one(n: int, bound: float, part: float) -> None:
    rate = bound + part * (1 - bound)
    expected = sum(
        probability * math.exp(float(log_below_bound(float(x), float(n), bound)))
        for x, probability in enumerate(binomial(n, rate))
    )
    assert expected <= AT_MOST_ONE


@EXACT
@given(st.integers(0, 40), st.floats(0, 0.5), st.sampled_from([0.5, 1.0]))
def test_f9_in_pairs_against_a_canary_that_is_no_worse(discordant: int, theta: float, prior: float) -> None:
    expected = sum(
        probability * math.exp(log_paired(b, discordant - b, prior))
        for b, probability in enumerate(binomial(discordant, theta))
    )
    assert expected <= AT_MOST_ONE


@EXACT
@given(st.integers(0, 60), st.floats(0.01, 0.99))
def test_f10_against_the_claimed_weight(requests: int, weight: float) -> None:
    expected = sum(
        probability * math.exp(log_split(x, requests - x, weight))
        for x, probability in enumerate(binomial(requests, weight))
    )
    assert expected == pytest.approx(1.0, abs=1e-8)


@EXACT
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()), min_size=1, max_size=4), shares)
def test_f5_and_f6_over_intervals_effects_and_changepoints(intervals: list[tuple[int, int, bool]], p: float) -> None:
    """All histories of a few intervals, two effects, every start and two metrics; the shared rates vary."""
    omegas, weights = np.array([3.0, 50.0]), np.array([0.6, 0.4])
    rates = [p, 1 - p, p / 2, 0.5]
    expected = 0.0
    histories = [list(pairs(n_c, n_s, rate, rate)) for (n_c, n_s, _), rate in zip(intervals, rates, strict=False)]
    for history in itertools.product(*histories):
        mixture = ChangepointMixture.new(1, 2)
        for (n_c, n_s, stepped), (x_c, x_s, _) in zip(intervals, history, strict=True):
            log_e = log_rate_ratio(x_c, n_c, x_s, n_s, omegas, 1.0)[None]
            counted = np.array([n_c > 0 and n_s > 0])
            [mixture] = update_mixtures([MixtureUpdate(mixture, log_e, counted)], np.array([stepped]))
        [evidence] = log_mixture_e_values([mixture], [weights])
        both = {"one": evidence, "other": np.zeros(1)}
        value = math.exp(float(log_combined(both, {"one": math.log(0.7), "other": math.log(0.3)})[0]))
        expected += math.prod(probability for _, _, probability in history) * value
    assert expected <= AT_MOST_ONE


def _log_beta(p: float, q: float) -> float:
    return math.lgamma(p) + math.lgamma(q) - math.lgamma(p + q)
