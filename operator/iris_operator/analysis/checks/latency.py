"""Durations over all buckets of the histogram: a body that moved and a tail that grew."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from iris_operator.analysis.check import Seen, Shape
from iris_operator.analysis.checks.ratio import information_per_request
from iris_operator.analysis.counts import RequestCounts
from iris_operator.analysis.look import Metric, State
from iris_operator.analysis.metrics.latency import LatencyBuckets, tolerated
from iris_operator.analysis.sentences import milliseconds, percent, share_of
from iris_operator.api.spec import LatencyCheck

NAME = "latency"


class Latency:
    """F3 with the margin of a factor to go on, and with a part of it to roll back."""

    name = NAME
    part = 5.5

    def __init__(self, settings: LatencyCheck, shape: Shape) -> None:
        self._slower = settings.max_slower
        self._bounds, self._tiers = shape.bounds, shape.tiers
        self._needed = frozenset(shape.bounds)
        self._metric = LatencyBuckets(shape.bounds, settings.max_slower, len(shape.tiers))

    def metric(self) -> Metric:
        """See `Check.metric`."""
        return self._metric

    def missing(self, counts: RequestCounts) -> str:
        """See `Check.missing`."""
        if not counts.at_most:
            return "durations"
        if not self._bounds:
            return "durations by any of the other's bounds"
        if self._tiers and counts.cached is None:
            return "durations by tier of the cache"
        for buckets in (counts.at_most, *(counts.cached or {}).values()):
            if not buckets.keys() >= self._needed:
                return f"the histogram's bound {milliseconds(min(self._needed - buckets.keys()))}"
        return ""

    def seen(self, state: State) -> Seen:
        """See `Check.seen`. The bound that is told is the one at which the two differ most."""
        (n_c, *canary), (n_s, *stable) = (_beyond(state[side][0].tolist()) for side in ("canary", "stable"))
        of_c, of_s = max(n_c, 1.0), max(n_s, 1.0)
        apart = [slow_c / of_c - slow_s / of_s for slow_c, slow_s in zip(canary, stable, strict=True)]
        at = apart.index(max(apart)) if n_c and n_s else 0
        text = (
            f"over {milliseconds(self._bounds[at])}: canary {share_of(canary[at], n_c, 'requests')}, "
            f"stable {share_of(stable[at], n_s, 'requests')}"
        )
        if self._metric.cached(state)[0]:
            text += " as often from the cache"
        return Seen(text, canary[at] / of_c, stable[at] / of_s, int(n_c))

    def gain(self, state: State, next_share: float) -> float:
        """See `Check.gain`. Of the bound that lags behind most: it is the one that is waited for."""
        n_c, n_s = float(state["canary"].sum()), float(state["stable"].sum())
        gained = state["whole" if next_share >= 1.0 else "step"][0]
        shares = self._metric.expected(state)
        slow, margin = self._metric.margins(shares, np.array([[next_share]]))
        at = int(np.argmin(gained))
        return information_per_request(n_c, n_s, float(slow[0, at]), float(margin[0, 0, at]))

    @property
    def worse(self) -> str:
        """See `Check.worse`."""
        return f"more than {percent(tolerated(self._slower) - 1)} slower than stable"

    def good(self, next_share: float) -> str:
        """See `Check.good`."""
        return f"less than {percent((self._slower - 1) / next_share)} slower"


def _beyond(bins: Sequence[float]) -> list[float]:
    """How many lie in each bin or beyond it."""
    return [*accumulate(reversed(bins))][::-1]
