"""Is stable itself in trouble? Then nothing good can be concluded about the canary."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from iris_operator.analysis.arrays import IntervalArrays, RevisionArrays
from iris_operator.analysis.evidence.logspace import Bools, Floats

# Fewer failed requests than this are not an incident, whatever their share.
_MIN_ERRORS = 3
# Latency is high above this mean rank of an interval's durations among stable's earlier ones, a fraction. The earlier
# ones are multiplied by `SLOWDOWN` first: where all requests take about the same time, a busy hour is slower than all
# of them without being an incident. Fewer requests than `_MIN_REQUESTS` are not compared.
_RANK_THRESHOLD = 0.8
SLOWDOWN = 1.5
_MIN_REQUESTS = 30


class Incident(NamedTuple):
    """An incident of stable, and one of both at once: then traffic may return to stable without blaming the canary."""

    stable: Bools
    both: Bools


class Past(NamedTuple):
    """The bins of earlier requests: production's, and those of the arm that the canary is compared with."""

    production: Floats
    arm: Floats


def find_incident(
    arrays: IntervalArrays, past: Past | None, scale_durations: Callable[[Floats], Floats], error_limit: Floats
) -> Incident:
    """Find incidents of stable in this interval: failed requests, or durations far above its own.

    `scale_durations` gives the bins of the same requests with all durations multiplied by `SLOWDOWN`, and at least
    lengthened by what counts as slower at all. `error_limit` is the share of failed requests that is an incident.
    """
    accepted = np.zeros(len(error_limit), dtype=np.bool_) if arrays.accept_shift is None else arrays.accept_shift
    slow = _latency_high(arrays.production, past.production if past else None, scale_durations)
    stable = (_error_rate_high(arrays.stable, error_limit) | slow) & ~accepted
    if not stable.any():
        return Incident(stable, stable)
    canary = _error_rate_high(arrays.canary, error_limit) | _latency_high(
        arrays.canary, past.arm if past else None, scale_durations
    )
    return Incident(stable, stable & canary)


def _error_rate_high(revision: RevisionArrays, limit: Floats) -> Bools:
    return (revision.errors >= _MIN_ERRORS) & (revision.errors >= limit * revision.requests)


def _latency_high(revision: RevisionArrays, past: Floats | None, scale: Callable[[Floats], Floats]) -> Bools:
    if past is None or revision.bins is None:
        return np.zeros(len(revision.requests), dtype=np.bool_)
    high = _ranks_high(revision.bins, past)
    return _ranks_high(revision.bins, scale(past)) if high.any() else high  # rare, and the scaling takes time


def _ranks_high(bins: Floats, past: Floats) -> Bools:
    total, known = bins.sum(axis=1), past.sum(axis=1)
    shares = past / np.maximum(known, 1.0)[:, None]
    rank = shares.cumsum(axis=1) - shares / 2
    mean = (bins * rank).sum(axis=1) / np.maximum(total, 1.0)
    return np.asarray((total >= _MIN_REQUESTS) & (known >= _MIN_REQUESTS) & (mean > _RANK_THRESHOLD))
