"""Every e-value of durations has an expectation of at most 1 while its hypothesis holds: by integrating or summing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from iris_operator.analysis.arrays import IntervalArrays, MetricUpdate, RevisionArrays, State
from iris_operator.analysis.evidence.location import FREEDOM, log_above, log_below
from iris_operator.analysis.evidence.logspace import Floats
from iris_operator.analysis.evidence.margin import log_share_difference
from iris_operator.analysis.metrics.batching import update_together
from iris_operator.analysis.metrics.latency import MAX_NATS, ODDS, LatencyBuckets
from iris_operator.analysis.metrics.mean_duration import EFFECTS

AT_MOST_ONE = 1.0 + 1e-5
# Of the standardized noise: beyond it lies less than the tolerance above.
GRID = np.linspace(-300.0, 300.0, 100_001)
SCALES = (0.03, 0.35)
BELOW = (0.0, 0.5, 10.0)


def student_t(z: Floats) -> Floats:
    constant = math.lgamma((FREEDOM + 1) / 2) - math.lgamma(FREEDOM / 2) - 0.5 * math.log(FREEDOM * math.pi)
    return np.asarray(np.exp(constant - (FREEDOM + 1) / 2 * np.log1p(z * z / FREEDOM)))


def normal(factor: float) -> Callable[[Floats], Floats]:
    return lambda z: np.asarray(np.exp(-0.5 * (z / factor) ** 2) / (factor * math.sqrt(2 * math.pi)))


NOISES = [pytest.param(student_t, id="t")] + [
    pytest.param(normal(factor), id=f"normal, {factor} x the scale") for factor in (0.5, 1.0, 1.1)
]


def expectation(density: Callable[[Floats], Floats], log_e: Floats) -> float:
    return float(np.trapezoid(density(GRID) * np.exp(log_e), GRID))


@pytest.mark.parametrize("density", NOISES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("below", BELOW)
def test_a_location_at_or_below_the_boundary_is_no_evidence_of_one_above(
    density: Callable[[Floats], Floats], scale: float, below: float
) -> None:
    log_e = log_above(scale * (GRID - below), np.full(len(GRID), scale), EFFECTS)
    for column in log_e.T:
        assert expectation(density, column) <= AT_MOST_ONE


@pytest.mark.parametrize("density", NOISES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("above", BELOW)
@pytest.mark.parametrize("margin", [0.02, 0.2, 1.0])
def test_a_location_at_or_above_the_margin_is_no_evidence_of_one_below(
    density: Callable[[Floats], Floats], scale: float, above: float, margin: float
) -> None:
    assert expectation(density, log_below(margin + scale * (GRID + above), scale, margin)) <= AT_MOST_ONE


def test_no_single_value_decides_and_a_larger_one_is_never_less_evidence() -> None:
    log_e = log_above(np.linspace(0.0, 1e3, 10_001), np.full(10_001, 0.1), EFFECTS)
    assert (np.diff(log_e, axis=0) >= 0).all()
    assert np.isfinite(log_e).all()
    # The least of the effects needs the mean to be 50 times as long in several intervals.
    assert log_e[:, 0].max() < math.log(100.0)


def test_a_location_of_zero_is_evidence_that_it_is_below_the_margin() -> None:
    assert log_below(0.0, 0.1, 0.3) > 1.0
    assert log_below(0.3, 0.1, 0.3) < -1.0


BOUNDS = (0.01, 0.025, 0.05)


def evidence_of_bins(canary: tuple[int, ...], stable: tuple[int, ...], share: float = 1.0) -> Floats:
    """log e of one interval by bound and alternative: to roll back, then for the margins of promotion."""
    buckets = LatencyBuckets(BOUNDS, 1.25, 0.005)
    slow = np.array([[0.6, 0.3, 0.1]])
    columns = buckets._columns(
        np.array([canary], dtype=float), np.array([stable], dtype=float), slow, np.array([[share, 1.0]]), np.zeros(1)
    )
    directions = np.tile([1.0] * len(ODDS) + [-1.0, -1.0], len(BOUNDS))
    x_c, n_c, x_s, n_s, theta_c, theta_s, delta = columns
    log_e = log_share_difference(x_c, n_c, x_s, n_s, (theta_c, theta_s), delta, directions)
    return log_e.reshape(len(BOUNDS), -1)


def outcomes(requests: int, shares: tuple[float, ...]) -> list[tuple[tuple[int, ...], float]]:
    """All distributions of so many requests over the bins, with their probabilities."""
    found = []
    for counts in itertools.product(range(requests + 1), repeat=len(shares)):
        if sum(counts) != requests:
            continue
        ways = math.factorial(requests) / math.prod(math.factorial(n) for n in counts)
        found.append((counts, ways * math.prod(p**n for p, n in zip(shares, counts, strict=True))))
    return found


# Stable's durations are just below the bounds and the canary's just above: 3 % slower.
WORST_WITHIN_BUCKET = ((0.4, 0.3, 0.2, 0.1), (0.0, 0.4, 0.3, 0.3))


@pytest.mark.parametrize(
    ("stable", "canary"),
    [
        ((0.4, 0.3, 0.2, 0.1), (0.4, 0.3, 0.2, 0.1)),
        ((0.1, 0.1, 0.1, 0.7), (0.1, 0.1, 0.1, 0.7)),
        ((0.4, 0.3, 0.2, 0.1), (0.7, 0.2, 0.1, 0.0)),
        WORST_WITHIN_BUCKET,
    ],
    ids=["equal", "equal and slow", "faster", "slower within the buckets"],
)
def test_a_canary_that_may_be_as_fast_as_stable_is_no_evidence_of_a_slower_one(
    stable: tuple[float, ...], canary: tuple[float, ...]
) -> None:
    expected = np.zeros((len(BOUNDS), len(ODDS)))
    for (of_c, p_c), (of_s, p_s) in itertools.product(outcomes(4, canary), outcomes(4, stable)):
        log_e = evidence_of_bins(of_c, of_s)[:, : len(ODDS)]
        expected += p_c * p_s * np.exp(np.minimum(log_e, MAX_NATS))
    assert (expected <= AT_MOST_ONE).all()


def test_an_interval_is_worth_at_most_two_nats_for_a_rollback() -> None:
    metric = _OfBuckets(LatencyBuckets(BOUNDS, 1.25, 0.005))
    state = metric.initial_state(1)
    stable, stuck = (np.array([bins], dtype=float) for bins in ([900, 90, 9, 1], [0, 0, 0, 100_000]))
    evidence = []
    for canary in (stable, stuck, stuck):
        arrays = IntervalArrays(
            canary=RevisionArrays(canary.sum(axis=1), np.zeros(1), bins=canary),
            stable=RevisionArrays(stable.sum(axis=1), np.zeros(1), bins=stable),
            pods=None,
            canary_pods=np.ones(1),
            stable_pods=np.ones(1),
            next_share=np.ones(1),
            step_changed=np.zeros(1, dtype=np.bool_),
        )
        ((state, log_e),) = update_together([metric], [state], arrays)
        evidence.append(float(log_e.regression[0]))
    assert max(evidence[1] - evidence[0], evidence[2] - evidence[1]) <= 2.0
    assert evidence[2] > evidence[1]


class _OfBuckets:
    """The buckets as a metric of their own: every interval is normal, and pods of one version do not differ."""

    def __init__(self, buckets: LatencyBuckets) -> None:
        self._buckets = buckets

    def initial_state(self, releases: int) -> State:
        return self._buckets.initial_state(releases)

    def update(self, state: State, arrays: IntervalArrays) -> MetricUpdate:
        return self._buckets.update(state, arrays, np.ones(1, dtype=np.bool_), np.zeros(1))
