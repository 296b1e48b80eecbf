"""Sums of e-values that no float could hold: only their logarithms are ever stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Numbers = Floats | float

# Evidence is stored in steps of 1e-4 nats, rounded down: what is forgotten is never in favour of acting.
_STEPS = 1e4
# What is left of a bet that lost: exp(-1e4) of it. Kept finite, because JSON knows no infinity.
LOST = -1e4
# The logarithm of nothing at all, where a sum must have one.
NOTHING = 1e-300


def log_sum(logs: Floats, weights: Any = 1.0) -> Floats:
    """log of the sum over the last axis of `weights * exp(logs)`; about -690 where nothing is left."""
    peak = np.maximum(logs.max(axis=-1), LOST)
    total = (np.exp(logs - peak[..., None]) * weights).sum(axis=-1)
    return np.asarray(np.log(np.maximum(total, NOTHING)) + peak)


def stored(logs: Floats) -> Floats:
    """The value as it is kept: a restart restores exactly what a running operator goes on with."""
    return np.asarray(np.floor(np.minimum(np.maximum(logs, LOST), -LOST) * _STEPS) / _STEPS)
