"""Durations over all buckets of the histogram: a body that moved and a tail that grew."""

from __future__ import annotations

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
        self._bounds = shape.bounds
        self._metric = LatencyBuckets(shape.bounds, settings.max_slower)

    def metric(self) -> Metric:
        """See `Check.metric`."""
        return self._metric

    def missing(self, counts: RequestCounts) -> str:
        """See `Check.missing`."""
        if not counts.at_most:
            return "durations"
        if not self._bounds:
            return "durations by any of the other's bounds"
        absent = [bound for bound in self._bounds if bound not in counts.at_most]
        return f"the histogram's bound {milliseconds(absent[0])}" if absent else ""

    def seen(self, state: State) -> Seen:
        """See `Check.seen`. The bound that is told is the one at which the two differ most."""
        canary, stable = (state[side][0][::-1].cumsum()[::-1] for side in ("canary", "stable"))
        n_c, n_s = float(canary[0]), float(stable[0])
        slow_c, slow_s = canary[1:] / max(n_c, 1.0), stable[1:] / max(n_s, 1.0)
        at = int(np.argmax(slow_c - slow_s)) if n_c and n_s else 0
        text = (
            f"over {milliseconds(self._bounds[at])}: canary {share_of(canary[at + 1], n_c, 'requests')}, "
            f"stable {share_of(stable[at + 1], n_s, 'requests')}"
        )
        return Seen(text, float(slow_c[at]), float(slow_s[at]), int(n_c))

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
