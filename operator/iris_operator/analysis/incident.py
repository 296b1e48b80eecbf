"""Is stable itself in trouble? Then nothing good can be concluded about the canary."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from iris_operator.analysis.evidence.logspace import Bools, Floats
from iris_operator.analysis.look import Look, Side

# Fewer failed requests than this are no incident, whatever their share.
_FEWEST_ERRORS = 3
# Slower than so many of stable's own earlier requests is the middle one of an interval, had they taken `SLOWER` times
# as long: where all requests take about the same, a busy hour is slower than all of them, and no incident. And requests
# to say so.
_SLOWER_THAN = 0.8
SLOWER = 1.5
_FEWEST_REQUESTS = 30


class Incident(NamedTuple):
    """Of stable, and of both at once: then the traffic may go back without blaming the canary."""

    stable: Bools
    both: Bools


def find_incident(look: Look, past: Floats | None, slowed: Callable[[Floats], Floats], error_limit: float) -> Incident:
    """Look for trouble of stable in this interval: failed requests, or durations far above its own.

    `past` has the bins of stable's earlier requests, and `slowed` makes of them what they were had they taken `SLOWER`
    times as long.
    """
    crawls = _crawls(look.stable, past)
    if past is not None and crawls.any():  # seldom: what follows costs something
        past = slowed(past)
        crawls = _crawls(look.stable, past)
    stable = _fails(look.stable, error_limit) | crawls
    if not stable.any():
        return Incident(stable, stable)
    canary = _fails(look.canary, error_limit) | _crawls(look.canary, past)
    return Incident(stable, stable & canary)


def _fails(side: Side, limit: float) -> Bools:
    return (side.errors >= _FEWEST_ERRORS) & (side.errors >= limit * side.requests)


def _crawls(side: Side, past: Floats | None) -> Bools:
    if past is None or side.bins is None:
        return np.zeros(len(side.requests), dtype=np.bool_)
    total, known = side.bins.sum(axis=1), past.sum(axis=1)
    shares = past / np.maximum(known, 1.0)[:, None]
    rank = shares.cumsum(axis=1) - shares / 2
    mean = (side.bins * rank).sum(axis=1) / np.maximum(total, 1.0)
    return np.asarray((total >= _FEWEST_REQUESTS) & (known >= _FEWEST_REQUESTS) & (mean > _SLOWER_THAN))
