"""Durations by histogram bin: finds a shift across bounds and a longer tail. F3 to roll back and to promote.

Nothing is claimed that the counts do not say. A canary that is slower by no more than a factor and a difference has no
more requests beyond a bound than the other has beyond the bound below it, divided by the factor and less the
difference. Whatever happens between two bounds is left to the mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from iris_operator.analysis.arrays import IntervalArrays, LogEvidence, MetricUpdate, State, no_evidence
from iris_operator.analysis.evidence.changepoint import ChangepointMixture, MixtureUpdate
from iris_operator.analysis.evidence.dispersion import Dispersion
from iris_operator.analysis.evidence.logspace import Bools, Floats
from iris_operator.analysis.metrics.batching import (
    DispersionComputation,
    MixtureComputation,
    ShareDifferenceComputation,
)
from iris_operator.analysis.metrics.margins import EARLY, add_noninferiority_evidence
from iris_operator.analysis.metrics.mean_duration import ROLLBACK_DEVIATIONS, ROLLBACK_PART
from iris_operator.analysis.metrics.tiers import ComparableCounts, comparable_counts, expected_shares, uses_cache

# Alternative odds ratios of a request being beyond a bound, and their weights.
ODDS = np.array([1.7, 5.0, 30.0, 300.0])
ODDS_WEIGHTS = np.array([0.2, 0.5, 0.2, 0.1])
_DIRECTIONS = np.array([1.0] * len(ODDS) + [-1.0, -1.0])
# The past decays, so that the expected shares follow the time of day.
_DECAY = 0.975
# For promotion, so many more of the canary's requests may lie beyond any bound: in a thin tail a smaller difference
# cannot be distinguished from chance.
MAX_SHARE = 0.1
# By so much the weight of a bound falls with the share of requests beyond it: in the body the mean tells more.
_BODY_TIMES = 20.0
# The most nats that an interval is worth for a rollback: its slow requests may all come from one moment in which a pod
# stood still, whatever their number.
MAX_NATS = 2.0


class LatencyBuckets:
    """Is the canary slower, at any bound of the histogram?"""

    def __init__(
        self,
        bounds: tuple[float, ...],
        max_slower: float,
        min_difference: float,
        tiers: int = 0,
        *,
        control: bool = False,
    ) -> None:
        """`bounds` in seconds, ascending; `max_slower` is the factor that promotion must exclude.

        `min_difference`, in seconds, is no slowness. `tiers` is the cache's number of tiers, 0 when it is not known or
        of no importance, as with a `control` group.
        """
        self._tiers = tiers
        self._bounds = np.array(bounds)
        self._max_slower = max_slower
        self._min_difference = min_difference
        self._control = control
        self._directions = np.tile(_DIRECTIONS, len(bounds))
        # The knot below the first bound, at the usual distance of two bounds.
        first = np.log(self._bounds[:1]) - np.log(2.5)
        self._knots = np.concatenate([first, np.log(self._bounds)])

    def initial_state(self, releases: int) -> State:
        """See `Metric.initial_state`."""
        bounds = len(self._bounds)
        new = ChangepointMixture.new(releases, bounds * len(ODDS))
        many, bins = np.zeros((releases, bounds)), np.zeros((releases, bounds + 1))
        return {
            "playing": new.log_wealth,
            "waiting": new.unstarted,
            "seen": new.intervals,
            "stake": many,
            "step": many,
            "whole": many,
            "squares": many,
            "freedom": many,
            "exposure": many,
            "past": bins,
            "arm": bins,
            "canary": bins,
            "stable": bins,
            **({"tiers": np.zeros((releases, (self._tiers + 1) * (bounds + 1)))} if self._tiers else {}),
        }

    def update(self, state: State, arrays: IntervalArrays, normal: Bools, lasting: Floats) -> MetricUpdate:
        """See `Metric.update`; only `normal` intervals are judged, and none without a past.

        `lasting` is the standard deviation of the lasting difference of the arms, as a logarithm.
        """
        counts, production = self._comparable(state, arrays), arrays.production.bins
        if counts is None or production is None:
            return state, no_evidence(arrays)
        canary, arm = counts.canary, counts.stable
        n_c, n_s = canary.sum(axis=1, keepdims=True), arm.sum(axis=1, keepdims=True)
        known = state[self._arm_name].sum(axis=1) > 0
        counted = (n_c[:, 0] > 0) & (n_s[:, 0] > 0) & known & normal
        beyond, requests = (
            (None, None) if counts.pods is None else (_beyond_bounds(counts.pods), counts.pods.sum(axis=2))
        )
        before = Dispersion(state["squares"], state["freedom"], state["exposure"])
        dispersion, phi, _ = yield from DispersionComputation(before, beyond, requests, normal).evaluate()
        slow = _beyond_bounds(counts.expected)
        columns = self._columns(canary, arm, slow, arrays.target_shares, lasting)
        log_e = yield from ShareDifferenceComputation(columns, self._directions).evaluate()
        log_e = log_e.reshape(*slow.shape, -1) / phi[..., None]
        regression_log_e = np.minimum(log_e[..., : len(ODDS)], MAX_NATS).reshape(len(n_c), -1)
        # Fixed by the first counted interval: no regression can be found at a bound that every request exceeds already.
        first = counted & (state["seen"] == 0)
        weights = state["stake"]
        if first.any():
            weights = np.where(first[:, None], _bound_weights(slow), weights)
        mixture = ChangepointMixture(state["playing"], state["waiting"], state["seen"])
        mixture, regression = yield from MixtureComputation(
            MixtureUpdate(mixture, regression_log_e, counted), _component_weights(weights)
        ).evaluate()
        noninferiority = add_noninferiority_evidence(state, arrays, log_e[..., len(ODDS) :], counted)
        use = counted[:, None]
        after = {
            "playing": mixture.log_wealth, "waiting": mixture.unstarted, "seen": mixture.intervals, "stake": weights,
            "step": noninferiority.step, "whole": noninferiority.rollout,
            "squares": dispersion.squares, "freedom": dispersion.freedom, "exposure": dispersion.exposure,
            "past": self._production_past(state, production, arrays),
            "canary": (state["canary"] + np.where(use, canary, 0.0)).round(2),
            "stable": (state["stable"] + np.where(use, arm, 0.0)).round(2),
        }  # fmt: skip
        if self._control:
            after["arm"] = _decayed(state["arm"], arm, normal)
        if arrays.stable.tiers is not None and self._tiers:
            after["tiers"] = _decayed(state["tiers"], arrays.stable.tiers.reshape(len(n_c), -1), normal)
        return after, LogEvidence(regression, noninferiority.decisive)

    @property
    def _arm_name(self) -> str:
        """The array of the state with the past of what the canary is compared with."""
        return "arm" if self._control else "past"

    def _production_past(self, state: State, now: Floats, arrays: IntervalArrays) -> Floats:
        """What is usual in production; in trouble it stays, until that has become normal."""
        usual = np.ones(len(now), dtype=np.bool_) if arrays.incident is None else ~arrays.incident
        past = _decayed(state["past"], now, usual)
        if arrays.accept_shift is None:
            return past
        return np.where(arrays.accept_shift[:, None] & (now.sum(axis=1, keepdims=True) > 0), now, past)

    def _columns(self, canary: Floats, arm: Floats, slow: Floats, target_shares: Floats, lasting: Floats) -> Floats:
        """The arguments of `log_share_difference`, by argument, release and alternative at each bound.

        The canary's requests beyond a bound against the arm's beyond the bound from which the tolerated slowness leads
        there: one for each alternative to roll back, then those for the margins of promotion.
        """
        releases, bounds = slow.shape
        factors = np.ones((releases, 1 + target_shares.shape[1]))
        factors[:, 0] = (1.0 + (self._max_slower - 1.0) * ROLLBACK_PART) * np.exp(ROLLBACK_DEVIATIONS * lasting)
        times = np.where(target_shares < 1.0, EARLY, 1.0) / target_shares
        factors[:, 1:] = 1.0 + (self._max_slower - 1.0) * times
        differences = np.full(factors.shape, self._min_difference)
        differences[:, 1:] *= times
        origin = self._origins(factors, differences)
        edge = np.ones((releases, 1))
        theta_arm = np.minimum(np.concatenate([edge, slow], axis=1), 1.0 - 1e-9)
        beyond_arm = np.concatenate([arm.sum(axis=1, keepdims=True), _beyond_bounds(arm)], axis=1)
        row = np.arange(releases)[:, None, None]
        # By release, bound and margin.
        x_s, theta_s = beyond_arm[row, origin], theta_arm[row, origin]
        columns = np.empty((7, releases, bounds, len(ODDS) + 2))
        columns[0] = _beyond_bounds(canary)[..., None]
        columns[1] = canary.sum(axis=1)[:, None, None]
        columns[3] = arm.sum(axis=1)[:, None, None]
        columns[2, ..., : len(ODDS)], columns[2, ..., len(ODDS) :] = x_s[..., :1], x_s[..., 1:]
        columns[5, ..., : len(ODDS)], columns[5, ..., len(ODDS) :] = theta_s[..., :1], theta_s[..., 1:]
        here = theta_s[..., :1]
        columns[4, ..., : len(ODDS)] = np.minimum(ODDS * here / (1.0 - here + ODDS * here), 1.0 - 1e-9)
        # Good enough is up to the other's share, not only as good: a canary within the margins earns its promotion.
        columns[4, ..., len(ODDS) :] = theta_s[..., 1:]
        columns[6, ..., : len(ODDS)] = 0.0
        columns[6, ..., len(ODDS) :] = np.minimum(MAX_SHARE / target_shares, 1.0 - 1e-9)[:, None, :]
        return columns.reshape(7, releases, -1)

    def _origins(self, factors: Floats, differences: Floats) -> NDArray[np.intp]:
        """For each margin and bound, the number of bounds from which slowness within the margin leads at most there.

        By release, bound and margin; 0 where there is none, so that nothing can be said of the bound.
        """
        bounds = self._bounds[:, None]
        limits = np.minimum(bounds / factors[:, None, :], bounds - differences[:, None, :])
        return np.asarray(np.searchsorted(self._bounds, limits * (1 + 1e-12), side="right"))

    def expected(self, state: State) -> Floats:
        """The shares of the bins to expect of the arm that the canary is compared with."""
        return expected_shares(state[self._arm_name])

    def uses_cache(self, state: State) -> Bools:
        """Did the cache answer some of stable's requests?"""
        if not self._tiers:
            return np.zeros(len(state["past"]), dtype=np.bool_)
        # The last tier is the model itself.
        return np.asarray(state["tiers"][:, : -state["past"].shape[1]].any(axis=1))

    def _comparable(self, state: State, arrays: IntervalArrays) -> ComparableCounts | None:
        """The counts to compare: all requests without a cache, otherwise a common mixture of its tiers."""
        if self._tiers and (self.uses_cache(state).any() or uses_cache(arrays.canary) or uses_cache(arrays.stable)):
            return comparable_counts(arrays, self._past_by_tier(state))
        canary, arm = arrays.canary.bins, arrays.arm.bins
        if canary is None or arm is None:
            return None
        # The control group's pods and production's have unlike loads: what they differ by is no dispersion.
        pods = None if arrays.pods is None or self._control else arrays.pods.bins
        return ComparableCounts(canary, arm, pods, self.expected(state))

    def _past_by_tier(self, state: State) -> Floats:
        """Stable's past by release, tier and bin; the last tier is the model itself."""
        releases, size = state["past"].shape
        return state["tiers"].reshape(releases, -1, size) if self._tiers else state["past"][:, None]

    def past_of_arm(self, state: State) -> Floats:
        """The bins of earlier requests of the arm that the canary is compared with."""
        return state[self._arm_name]

    def scale_durations(self, bins: Floats, factor: float) -> Floats:
        """The bins of the same requests with durations times `factor`; log-linear between the bounds.

        They are at least as much longer in the mean as two versions must differ to be of different speed at all.
        """
        total = bins.sum(axis=1, keepdims=True)
        middles = np.exp(np.concatenate([self._knots - np.diff(self._knots[:2]) / 2, self._knots[-1:]]))[1:]
        mean = (bins * middles).sum(axis=1) / np.maximum(total[:, 0], 1.0)
        factors = np.maximum(factor, 1.0 + self._min_difference / np.maximum(mean, 1e-9))
        slow = _beyond_bounds(bins / np.maximum(total, 1.0))
        more = slow + self._excess(slow, np.log(factors)[:, None, None])[:, 0]
        edge = np.ones((len(slow), 1))
        return np.asarray(-np.diff(np.concatenate([edge, more, 0.0 * edge], axis=1), axis=1) * total)

    def _excess(self, slow: Floats, log_factor: Floats) -> Floats:
        """The share of requests that exceed each bound only when durations are multiplied by exp(`log_factor`)."""
        at = self._knots[1:] - log_factor
        position = np.minimum(np.maximum(np.searchsorted(self._knots, at) - 1, 0), len(self._bounds) - 1)
        left, right = self._knots[position], self._knots[position + 1]
        within = np.minimum(np.maximum((at - left) / (right - left), 0.0), 1.0)
        edge = np.concatenate([np.ones((len(slow), 1)), slow], axis=1)
        row = np.arange(len(slow))[:, None, None]
        low, high = edge[row, position], edge[row, position + 1]
        return np.asarray(low + (high - low) * within - slow[:, None, :])


def _decayed(past: Floats, now: Floats, normal: Bools) -> Floats:
    return np.where(normal[:, None], (_DECAY * past + now).round(2), past)


def _bound_weights(slow: Floats) -> Floats:
    """The weight of each bound: small where few requests are below it, and where the mean tells as much."""
    below = (1.0 - slow) / (1.0 + _BODY_TIMES * slow)
    return np.asarray(below / np.maximum(below.sum(axis=1, keepdims=True), 1e-9)).round(4)


def _component_weights(bound_weights: Floats) -> Floats:
    """The weight of every component of the mixture; they sum to 1 up to the rounding of `bound_weights`."""
    return np.asarray((bound_weights[:, :, None] * ODDS_WEIGHTS).reshape(len(bound_weights), -1))


def _beyond_bounds(bins: Floats) -> Floats:
    """The number beyond each bound; the bins run along the last axis."""
    return np.asarray(bins[..., ::-1].cumsum(axis=-1)[..., -2::-1])
