"""Requests beyond the time that a service promises: does the canary break the promise where stable keeps it?"""

from __future__ import annotations

import numpy as np

from iris_operator.analysis.arrays import IntervalArrays, LogEvidence, MetricUpdate, RevisionArrays, State
from iris_operator.analysis.evidence.changepoint import ChangepointMixture, MixtureUpdate
from iris_operator.analysis.evidence.logspace import Floats
from iris_operator.analysis.metrics.batching import MixtureComputation
from iris_operator.analysis.metrics.latency import MAX_NATS
from iris_operator.analysis.metrics.rare import EventCounts, RareEvents

# Alternative shares of late requests, as multiples of the promised one, and their weights.
_TIMES = np.array([1.5, 3.0, 10.0])
_WEIGHTS = np.array([0.4, 0.4, 0.2])
_PREFIX = "late_"


class ObjectiveMisses:
    """Late requests: more than promised, and more than stable's. Either alone rolls nothing back."""

    def __init__(self, at: int, late_share: float) -> None:
        """`at` is the index of the histogram's bound; `late_share` of the requests may be beyond it."""
        self._at, self._late_share = at, late_share
        self._relative = RareEvents(self.events, 2.0, late_share)

    def events(self, revision: RevisionArrays) -> EventCounts | None:
        """The late requests, of those whose duration was measured."""
        if revision.bins is None:
            return None
        return EventCounts(revision.bins[..., self._at + 1 :].sum(axis=-1), revision.bins.sum(axis=-1))

    def initial_state(self, releases: int) -> State:
        """See `Metric.initial_state`."""
        new = ChangepointMixture.new(releases, len(_TIMES))
        absolute = {"playing": new.log_wealth, "waiting": new.unstarted, "seen": new.intervals}
        relative = self._relative.initial_state(releases)
        return {**relative, **{_PREFIX + name: value for name, value in absolute.items()}}

    def update(self, state: State, arrays: IntervalArrays) -> MetricUpdate:
        """See `Metric.update`."""
        after, evidence = yield from self._relative.update(state, arrays)
        canary = self.events(arrays.canary)
        if canary is None:
            return state, evidence
        mixture = ChangepointMixture(*(state[_PREFIX + name] for name in ("playing", "waiting", "seen")))
        update = MixtureUpdate(mixture, self._log_e(canary), canary.total > 0)
        mixture, broken = yield from MixtureComputation(update, _WEIGHTS).evaluate()
        merged = {
            **state,
            **after,
            _PREFIX + "playing": mixture.log_wealth,
            _PREFIX + "waiting": mixture.unstarted,
            _PREFIX + "seen": mixture.intervals,
        }
        return merged, LogEvidence(np.minimum(evidence.regression, broken), evidence.noninferiority)

    def _log_e(self, canary: EventCounts) -> Floats:
        """log e by alternative against "at most as many are late as promised"; bounded, as late ones come together."""
        theta = np.minimum(_TIMES * self._late_share, (1.0 + self._late_share) / 2.0)
        late, others = canary.events[:, None], (canary.total - canary.events)[:, None]
        log_e = late * np.log(theta / self._late_share) + others * np.log((1.0 - theta) / (1.0 - self._late_share))
        return np.asarray(np.minimum(log_e, MAX_NATS))
