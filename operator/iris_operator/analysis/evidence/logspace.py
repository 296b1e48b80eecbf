"""Sums of e-values in log space: the values themselves would overflow a float."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Numbers = Floats | float

# Evidence is stored in steps of 1e-4 nats and rounded down: the error is never in favour of a decision.
_STEPS_PER_NAT = 1e4
# Logarithm of the wealth of a lost bet; finite, because JSON has no infinity.
LOG_FLOOR = -1e4
# Least sum whose logarithm is taken, instead of 0.
MIN_SUM = 1e-300


def log_sum(logs: Floats, weights: Any = 1.0) -> Floats:
    """log of the sum over the last axis of `weights * exp(logs)`; about -690 where the sum is 0."""
    peak = np.maximum(logs.max(axis=-1), LOG_FLOOR)
    total = (np.exp(logs - peak[..., None]) * weights).sum(axis=-1)
    return np.asarray(np.log(np.maximum(total, MIN_SUM)) + peak)


def quantize(logs: Floats) -> Floats:
    """The value as it is stored: a restarted operator goes on with exactly the same numbers."""
    return np.asarray(np.floor(np.minimum(np.maximum(logs, LOG_FLOOR), -LOG_FLOOR) * _STEPS_PER_NAT) / _STEPS_PER_NAT)
