"""Sums of e-values that no float could hold: only their logarithms are ever stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Numbers = Floats | float

# Steps in which evidence is stored, in nats. Rounded down: what is forgotten is never in favour of acting.
_STEP = 1e-4
# What is left of a bet that lost: exp(-1e4) of it. Kept finite, because JSON knows no infinity.
_LOST = -1e4


def log_sum(logs: Floats, weights: Any = 1.0) -> Floats:
    """log of the sum over the last axis of `weights * exp(logs)`; -inf where nothing is left."""
    peak = np.max(logs, axis=-1)
    peak = np.where(np.isfinite(peak), peak, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.sum(np.exp(logs - peak[..., None]) * weights, axis=-1)) + peak)


def log_mean(logs: Floats) -> Floats:
    """log of the mean of `exp(logs)` over the last axis."""
    return np.asarray(log_sum(logs, 1.0 / logs.shape[-1]))


def times_log(count: Any, ratio: Any) -> Floats:
    """`count * log(ratio)` with 0 * log(0) = 0 and count * log(0) = -inf: nothing was seen of what cannot be."""
    with np.errstate(divide="ignore", invalid="ignore"):
        product = np.multiply(count, np.log(ratio))
    return np.asarray(np.where(np.equal(count, 0), 0.0, product))


def stored(logs: Floats) -> Floats:
    """The value as it is kept: a restart restores exactly what a running operator goes on with."""
    return np.asarray(np.floor(np.clip(logs, _LOST, -_LOST) / _STEP) * _STEP).round(4)
