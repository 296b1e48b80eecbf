"""The requests that are compared of two versions whose caches have different hit rates."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from iris_operator.analysis.evidence.margin import log_share_difference
from iris_operator.analysis.metrics.tiers import match_mixtures

TIERS = 3
requests = st.lists(st.integers(0, 400), min_size=TIERS, max_size=TIERS)
few = st.lists(st.integers(0, 3), min_size=2, max_size=2)
probabilities = st.lists(st.floats(0.01, 0.99), min_size=2, max_size=2)


@given(requests, requests)
def test_both_revisions_are_compared_in_one_mixture_of_their_own_requests(canary: list[int], stable: list[int]) -> None:
    of_canary, of_stable, mixture = map(np.array, match_mixtures(canary, stable))
    for part, counts in ((of_canary, canary), (of_stable, stable)):
        assert ((part >= 0) & (part <= 1)).all()
        compared = part * counts
        assert np.allclose(compared, mixture * compared.sum(), rtol=1e-9, atol=1e-9)


@given(requests, st.integers(1, 20))
def test_all_requests_of_equal_mixtures_are_compared(canary: list[int], times: int) -> None:
    of_canary, of_stable, _ = map(np.array, match_mixtures(canary, [times * n for n in canary]))
    there = np.array(canary) > 0
    assert np.allclose(of_canary[there], 1.0)
    assert np.allclose(of_stable[there], 1.0)


@given(requests, requests)
def test_the_effective_size_is_at_least_that_of_the_intersection(canary: list[int], stable: list[int]) -> None:
    n_c, n_s = sum(canary), sum(stable)
    of_canary, of_stable, _ = map(np.array, match_mixtures(canary, stable))
    left_c, left_s = float((of_canary * canary).sum()), float((of_stable * stable).sum())
    common = sum(min(one * n_s, other * n_c) for one, other in zip(canary, stable, strict=True)) / max(n_c * n_s, 1)
    assert effective_size(left_c, left_s) >= effective_size(common * n_c, common * n_s) * (1 - 1e-9)


def effective_size(n: float, m: float) -> float:
    return n * m / (n + m) if n + m else 0.0


def test_without_a_tier_in_common_nothing_is_compared() -> None:
    of_canary, of_stable, mixture = match_mixtures([0, 0, 30], [70, 0, 0])
    assert not any(of_canary)
    assert not any(of_stable)
    assert not any(mixture)


def test_a_canary_with_a_cold_cache_is_compared_with_stables_uncached_answers() -> None:
    of_canary, of_stable, mixture = match_mixtures([0, 0, 30], [70, 10, 20])
    assert of_canary == [0.0, 0.0, 1.0]
    assert of_stable == [0.0, 0.0, 1.0]
    assert mixture == [0.0, 0.0, 1.0]


@settings(max_examples=40, deadline=None)
@given(few, few, probabilities, st.lists(st.floats(-1, 1), min_size=2, max_size=2), probabilities, st.floats(0.01, 0.4))
def test_f3_on_matched_mixtures_against_a_canary_within_the_margin_in_each_tier(
    canary: list[int], stable: list[int], rates: list[float], parts: list[float], theta: list[float], delta: float
) -> None:
    """By summing over all outcomes: one tier is much slower than the other, and the versions' hit rates differ."""
    of_canary, of_stable, _ = map(np.array, match_mixtures(canary, stable))
    slower = [min(1.0, max(0.0, rate + part * delta)) for rate, part in zip(rates, parts, strict=True)]
    expected = 0.0
    for beyond in itertools.product(*(range(n + 1) for n in (*canary, *stable))):
        events_c, events_s = np.array(beyond[:2]), np.array(beyond[2:])
        probability = math.prod(
            math.comb(n, x) * p**x * (1 - p) ** (n - x)
            for n, x, p in zip((*canary, *stable), beyond, (*slower, *rates), strict=True)
        )
        log_e = log_share_difference(
            (of_canary * events_c).sum(),
            (of_canary * canary).sum(),
            (of_stable * events_s).sum(),
            (of_stable * stable).sum(),
            (theta[0], theta[1]),
            delta,
            1.0,
        )
        expected += probability * math.exp(float(log_e))
    assert expected <= 1.0 + 1e-9
