"""The others' rules do what their documentation says."""

from __future__ import annotations

import numpy as np
import pytest

from bench.analysis.baselines import Argo, Flagger, Kayenta, p99, shift_above
from bench.analysis.traffic import BOUNDS
from iris_operator.analysis.arrays import RevisionArrays


def minute(requests: float, errors: float, slow: float = 0.0) -> RevisionArrays:
    """`slow` requests take between 750 ms and 1 s, the rest between 15 and 25 ms."""
    bins = np.zeros((1, len(BOUNDS) + 1))
    bins[0, BOUNDS.index(0.025)], bins[0, BOUNDS.index(1.0)] = requests - slow, slow
    return RevisionArrays(np.array([requests]), np.array([errors]), bins=bins)


STABLE = minute(5400, 5)


def test_flagger_needs_at_least_six_minutes_even_if_half_of_the_requests_fail() -> None:
    flagger = Flagger(1)
    decisions = [bool(flagger.judge(minute(600, 300), STABLE).fails[0]) for _ in range(6)]
    assert decisions == [False] * 5 + [True]


def test_flagger_counts_failed_checks_and_missing_data_in_any_order() -> None:
    flagger = Flagger(1, threshold=2)
    intervals = (minute(600, 60), minute(600, 0), minute(0, 0), minute(600, 0))
    assert [bool(flagger.judge(arrays, STABLE).fails[0]) for arrays in intervals] == [False, False, False, True]


def test_flagger_does_not_use_stable() -> None:
    assert bool(Flagger(1).judge(minute(600, 3), minute(5400, 0)).passes[0])
    assert not bool(Flagger(1).judge(minute(600, 120), minute(5400, 1080)).passes[0])


def test_argo_fails_with_the_first_failed_measurement() -> None:
    argo = Argo(1)
    assert not bool(argo.judge(minute(600, 6), STABLE).fails[0])
    assert bool(argo.judge(minute(600, 7), STABLE).fails[0])


def test_argo_fails_with_the_fifth_error_in_a_row_and_a_measurement_ends_the_row() -> None:
    argo = Argo(1)
    nothing = minute(0, 0)
    decisions = [
        bool(argo.judge(arrays, STABLE).fails[0]) for arrays in [nothing] * 4 + [minute(600, 0)] + [nothing] * 5
    ]
    assert decisions == [False] * 9 + [True]


def test_kayenta_decides_nothing_before_five_points() -> None:
    kayenta = Kayenta(1)
    decisions = [kayenta.judge(minute(600, 60), STABLE) for _ in range(5)]
    assert [bool(each.fails[0] or each.passes[0]) for each in decisions] == [False] * 4 + [True]
    assert bool(decisions[-1].fails[0])


def test_kayenta_passes_equal_revisions() -> None:
    kayenta = Kayenta(1)
    decisions = [kayenta.judge(minute(600, x), minute(5400, 9 * x)) for x in (1, 2, 0, 1, 3, 2, 1)]
    assert bool(decisions[-1].passes[0])


def test_the_shift_is_the_median_of_the_differences() -> None:
    canary, stable = np.array([[5.0, 6, 7, 8, 9, 10]]), np.array([[0.0, 1, 2, 3, 4, 5]])
    shift = shift_above(canary, stable, 2.326)
    assert shift is not None
    lower, estimate = shift
    assert float(estimate[0]) == 5.0
    assert 0 < float(lower[0]) < 5.0


def test_the_99th_percentile_is_interpolated_as_in_prometheus() -> None:
    assert float(p99(minute(1000, 0))[0]) == pytest.approx(0.015 + 0.01 * 0.99)
    assert 0.5 < float(p99(minute(1000, 0, slow=20))[0]) < 1.0
