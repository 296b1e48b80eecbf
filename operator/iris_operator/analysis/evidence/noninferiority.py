"""F7: evidence that the canary is good enough for the next step (noninferiority)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from iris_operator.analysis.evidence.logspace import Floats, log_sum

# Rates that a good canary may have, as fractions of the tolerated one, and their weights. The rate 0 has the largest:
# a healthy canary has it most often, and a service with little traffic then waits least.
GOOD_FRACTIONS = np.array([0.0, 0.1, 0.3, 0.6])
GOOD_FRACTION_WEIGHTS = np.array([0.7, 0.15, 0.09, 0.06])
# Ratios to stable's rate that a good canary may have, as multiples of half the tolerated ratio, and their weights.
GOOD_RATIOS = np.array([0.25, 0.5, 1.0])
GOOD_RATIO_WEIGHTS = np.array([0.2, 0.3, 0.5])
# Weight of the ratio to stable; the rest is that of the tolerated harm.
RATIO_WEIGHT = 0.15
_LOG_FRACTIONS = np.concatenate([[-np.inf], np.log(GOOD_FRACTIONS[1:])])


def log_below_bound(x: Any, n: Any, bound: Any) -> Floats:
    """log of the mixture over theta1 < bound of (theta1/bound)^x * ((1-theta1)/(1-bound))^(n-x), against rate >= bound.

    `x` of all `n` requests of the canary failed; `bound` is the tolerated harm to all traffic divided by the canary's
    next share of it, so that an early, small step needs few requests. Source: F7, second half.

    A bound of 1 or more cannot be exceeded: the evidence is infinite.
    """
    x, n, bound = (np.asarray(value, dtype=np.float64)[..., None] for value in (x, n, bound))
    limit = np.minimum(bound, 1.0 - 1e-9)
    # One event excludes a rate of 0.
    hits = np.where(x > 0, np.maximum(x, 1.0) * _LOG_FRACTIONS, 0.0)
    logs = hits + (n - x) * np.log((1 - limit * GOOD_FRACTIONS) / (1 - limit))
    return np.where(bound[..., 0] >= 1.0, np.inf, log_sum(logs, GOOD_FRACTION_WEIGHTS))


def log_noninferiority(by_ratio: Floats, by_bound: Floats) -> Floats:
    """log G: the weighted average of the e-values for "below rho1 times stable's rate" and "below the tolerated harm".

    Either excludes H0': rate >= max(rho1 * stable's, harm / next share). Source: F7.
    """
    return np.asarray(np.logaddexp(by_ratio + math.log(RATIO_WEIGHT), by_bound + math.log(1.0 - RATIO_WEIGHT)))
