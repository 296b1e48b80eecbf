"""The formulas against independent computations: exact fractions, and SciPy, which the operator does not contain."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import optimize, special, stats

from iris_operator.analysis.evidence.changepoint import (
    INITIAL_WEIGHT,
    ChangepointMixture,
    MixtureUpdate,
    log_mixture_e_values,
    update_mixtures,
)
from iris_operator.analysis.evidence.dispersion import Dispersion, add_pods, dispersion_factor, squared_variation
from iris_operator.analysis.evidence.information_limit import information, seconds_to_detect
from iris_operator.analysis.evidence.log_gamma import log_gamma
from iris_operator.analysis.evidence.logspace import log_sum
from iris_operator.analysis.evidence.margin import nearest_with_difference
from iris_operator.analysis.evidence.noninferiority import GOOD_FRACTION_WEIGHTS, GOOD_FRACTIONS, log_below_bound
from iris_operator.analysis.evidence.paired import log_paired, log_upper_half
from iris_operator.analysis.evidence.ratio import log_overdispersed_ratio, log_rate_ratio
from iris_operator.analysis.evidence.split import log_split


@pytest.mark.parametrize(("x_c", "n_c", "x_s", "n_s", "omega", "rho"), [(2, 100, 1, 300, 10, 1), (7, 50, 3, 950, 8, 2)])
def test_f1_is_the_formula_in_fractions(x_c: int, n_c: int, x_s: int, n_s: int, omega: int, rho: int) -> None:
    q = Fraction(n_c, n_c + n_s)
    exact = Fraction(omega, rho) ** x_c * ((1 - q + q * rho) / (1 - q + q * omega)) ** (x_c + x_s)
    assert float(log_rate_ratio(x_c, n_c, x_s, n_s, omega, rho)) == pytest.approx(math.log(exact), rel=1e-12)


def test_f1_is_zero_without_requests_of_both_revisions() -> None:
    assert float(log_rate_ratio(0, 0, 3, 10, 10.0, 1.0)) == 0.0
    assert float(log_rate_ratio(3, 10, 0, 0, 10.0, 1.0)) == 0.0


def test_f1_between_dispersed_pods_is_a_ratio_of_beta_binomials_and_tends_to_f1() -> None:
    q, spread, omega = 0.1, 4.4, 10.0
    part = q * omega / (1 - q + q * omega)
    expected = stats.betabinom.logpmf(5, 7, spread * part, spread * (1 - part)) - stats.betabinom.logpmf(
        5, 7, spread * q, spread * (1 - q)
    )
    assert float(log_overdispersed_ratio(5, 100, 2, 900, omega, 1.0, spread)) == pytest.approx(expected, abs=1e-9)
    plain = float(log_rate_ratio(5, 100, 2, 900, omega, 1.0))
    assert float(log_overdispersed_ratio(5, 100, 2, 900, omega, 1.0, 9e5)) == pytest.approx(plain, abs=1e-3)
    assert float(log_overdispersed_ratio(5, 100, 2, 900, omega, 1.0, math.inf)) == plain


@pytest.mark.parametrize("theta", [(0.3, 0.2), (0.01, 0.5), (0.999, 0.001), (0.4, 0.4)])
@pytest.mark.parametrize("delta", [-0.4, -0.01, 0.05, 0.3, 0.9])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.95])
def test_f3s_nearest_point_is_where_a_search_finds_it(theta: tuple[float, float], delta: float, share: float) -> None:
    def cost(a: float) -> float:
        return share * _kl(theta[0], a + delta) + (1 - share) * _kl(theta[1], a)

    low, high = max(0.0, -delta) + 1e-9, min(1.0, 1 - delta) - 1e-9
    found = optimize.minimize_scalar(cost, bounds=(low, high), method="bounded", options={"xatol": 1e-12})
    near_c, near_s = nearest_with_difference(1000 * share, 1000 * (1 - share), theta, delta)
    assert float(near_c - near_s) == pytest.approx(delta, abs=1e-12)
    assert cost(float(np.clip(near_s, low, high))) <= found.fun + 1e-9


def test_f5_with_one_effect_is_the_weighted_sum_of_products_over_changepoints() -> None:
    mixture, product = ChangepointMixture.new(1, 1), 0.0
    for log_e in (0.5, -0.2, 1.0):
        update = MixtureUpdate(mixture, np.array([[log_e]]), np.array([True]))
        [mixture] = update_mixtures([update], np.array([False]))
        product += log_e
    from_start = INITIAL_WEIGHT * math.exp(product)
    # Changepoints at the second and third interval have their own products; the term of later ones is 1.
    first, second = 1 - INITIAL_WEIGHT, 1 / 16
    late = first * second * math.exp(0.8)
    latest = first * (1 - second) * (1 / 17) * math.exp(1.0)
    unstarted = first * (1 - second) * (1 - 1 / 17)
    expected = math.log(from_start + late + latest + unstarted)
    [evidence] = log_mixture_e_values([mixture], [np.array([1.0])])
    assert float(evidence[0]) == pytest.approx(expected, abs=5e-4)


def test_f7_is_the_formula_of_the_mixture_over_good_rates() -> None:
    clean = math.log(20) / -math.log(1 - 0.01)
    assert math.ceil(clean) == 299
    n = 420.0
    expected = math.log(
        sum(w * ((1 - 0.01 * f) / 0.99) ** n for f, w in zip(GOOD_FRACTIONS, GOOD_FRACTION_WEIGHTS, strict=True))
    )
    assert float(log_below_bound(0.0, n, 0.01)) == pytest.approx(expected, rel=1e-12)
    assert GOOD_FRACTION_WEIGHTS.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (12, 3), (3, 12), (400, 300), (5000, 1)])
@pytest.mark.parametrize("prior", [0.5, 1.0])
def test_f9_in_pairs_is_the_formula_with_scipys_beta_functions(b: int, c: int, prior: float) -> None:
    tail = stats.beta.logsf(0.5, prior + b, prior + c)
    expected = (
        (b + c) * math.log(2) + special.betaln(prior + b, prior + c) - special.betaln(prior, prior) + math.log(2) + tail
    )
    assert log_paired(b, c, prior) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert log_upper_half(prior + b, prior + c) == pytest.approx(tail, rel=1e-8, abs=1e-12)


def test_f10_is_a_dirichlet_multinomial_over_a_multinomial() -> None:
    x, n, weight = 130, 1000, 0.1
    expected = stats.betabinom.logpmf(x, n, 10, 90) - stats.binom.logpmf(x, n, weight)
    assert log_split(x, n - x, weight) == pytest.approx(expected, rel=1e-9)
    assert log_split(5, 5, 0.0) == 0.0


def test_the_log_of_the_gamma_function_is_scipys() -> None:
    z = np.concatenate([np.logspace(-6, 7, 200)])
    assert log_gamma(z) == pytest.approx(special.gammaln(z), rel=1e-11, abs=1e-11)


def test_sums_in_log_space_neither_overflow_nor_vanish() -> None:
    assert float(log_sum(np.array([1000.0, 1000.0]))) == pytest.approx(1000.0 + math.log(2))
    assert float(log_sum(np.array([-5000.0, -5000.0]), 0.5)) == pytest.approx(-5000.0)


def test_the_information_limits_of_the_literature() -> None:
    """100 requests/s, weight 10 %, alpha 0.01: 0.1 -> 1 % takes 42 s, 0.1 -> 5 % 5 s, 1 -> 1.5 % 475 s."""
    limits = [
        seconds_to_detect(0.01, information(10, 90, p, q)) for p, q in ((0.01, 0.001), (0.05, 0.001), (0.015, 0.01))
    ]
    assert [round(limit) for limit in limits] == [42, 5, 475]


def test_the_dispersion_of_equal_pods_is_one_and_of_noisy_ones_their_excess() -> None:
    rng = np.random.default_rng(1)
    requests, counted = np.full((1, 10), 100.0), np.array([True])
    even, noisy = Dispersion.new(1), Dispersion.new(1)
    for _ in range(400):
        even = add_pods(even, rng.poisson(0.8, (1, 10)).astype(float), requests, counted)
        rates = 0.8 * rng.gamma(1.0, 1.0, (1, 10))
        noisy = add_pods(noisy, rng.poisson(rates).astype(float), requests, counted)
    one, pods = np.ones(1), np.full(1, 10.0)
    assert float(dispersion_factor(even, one)[0]) < 1.1
    assert float(squared_variation(even, pods)[0]) < 0.1
    # 8 events on 10 pods whose rates vary by 1: (8 + 10) / (1 + 10).
    assert float(dispersion_factor(noisy, one)[0]) == pytest.approx(18 / 11, abs=0.15)
    assert float(squared_variation(noisy, pods)[0]) == pytest.approx(1.0, abs=0.2)
    assert float(dispersion_factor(noisy, 2 * one)[0]) == pytest.approx(1 + 2 * 7 / 11, abs=0.3)


def _kl(p: float, q: float) -> float:
    return float(special.rel_entr(p, q) + special.rel_entr(1 - p, 1 - q))
