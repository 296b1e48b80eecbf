"""F7: evidence that the canary is good enough for the next step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from iris_operator.analysis.evidence.logspace import Floats, log_sum

# Rates that a good canary may have, as fractions of the tolerated one, and the stake on each. Most is on none at all:
# it is what a healthy canary shows most often, and what makes a quiet service wait least.
GOOD_FRACTIONS = np.array([0.0, 0.1, 0.3, 0.6])
GOOD_WEIGHTS = np.array([0.6, 0.2, 0.12, 0.08])
# The other way to go on: the canary has a quarter, half of, or as many events as stable, in multiples of the tolerated
# ratio / 2, and the stake on each.
CLEARED = np.array([0.25, 0.5, 1.0])
CLEARED_WEIGHTS = np.array([0.2, 0.3, 0.5])
# Of the stake on going on: on the ratio to stable; the rest is on the tolerated harm.
ON_RATIO = 0.2
_LOG_FRACTIONS = np.concatenate([[-np.inf], np.log(GOOD_FRACTIONS[1:])])


def log_below_bound(x: Any, n: Any, bound: Any) -> Floats:
    """log of the mixture over theta1 < bound of (theta1/bound)^x * ((1-theta1)/(1-bound))^(n-x), against rate >= bound.

    `x` of all `n` requests of the canary failed; `bound` is the tolerated harm to all traffic divided by the canary's
    next share of it, so that an early, small step is earned with few requests. Source: F7, second half.

    A bound of 1 or more cannot be exceeded: the evidence is infinite.
    """
    x, n, bound = (np.asarray(value, dtype=np.float64)[..., None] for value in (x, n, bound))
    limit = np.minimum(bound, 1.0 - 1e-9)
    # One event rules out the bet on none at all.
    hits = np.where(x > 0, np.maximum(x, 1.0) * _LOG_FRACTIONS, 0.0)
    logs = hits + (n - x) * np.log((1 - limit * GOOD_FRACTIONS) / (1 - limit))
    return np.where(bound[..., 0] >= 1.0, np.inf, log_sum(logs, GOOD_WEIGHTS))


def log_cleared(by_ratio: Floats, by_bound: Floats) -> Floats:
    """log G: part of the stake on "below rho1 times stable's rate", the rest on "below the tolerated harm".

    Either excludes H0': rate >= max(rho1 * stable's, harm / next share). Source: F7.
    """
    return np.asarray(np.logaddexp(by_ratio + math.log(ON_RATIO), by_bound + math.log(1.0 - ON_RATIO)))
