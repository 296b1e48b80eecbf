"""Rare events: failed requests, failed inferences, wrong answers. F1 to roll back, F7 to promote."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from iris_operator.analysis.arrays import IntervalArrays, LogEvidence, MetricUpdate, RevisionArrays, State, no_evidence
from iris_operator.analysis.evidence.changepoint import ChangepointMixture, MixtureUpdate
from iris_operator.analysis.evidence.dispersion import Dispersion
from iris_operator.analysis.evidence.logspace import Floats, log_sum, quantize
from iris_operator.analysis.evidence.noninferiority import GOOD_RATIOS
from iris_operator.analysis.metrics.batching import (
    DispersionComputation,
    MixtureComputation,
    NoninferiorityComputation,
    RateRatioComputation,
)
from iris_operator.analysis.metrics.margins import EARLY, OWN_PART

# Effects of the mixture, as multiples of the tolerated ratio: log-spaced from 1.25 to 1000.
OMEGAS = 1.25 * (1000 / 1.25) ** (np.arange(13) / 12)


def effect_weights(around: float, spread: float) -> Floats:
    """The weight of each effect: a bell in log(omega) around the effect that a bad release of this kind has."""
    bell = np.exp(-0.5 * (np.log(OMEGAS / around) / np.log(spread)) ** 2) + 0.05
    return np.asarray(bell / bell.sum())


# A release that breaks something has about ten times the errors. A much larger effect needs little weight: its first
# interval is evidence of thousands to one. A model that got worse is wrong about 1.5 times as often.
FAILURE_WEIGHTS = effect_weights(8.0, 2.5)
WRONG_ANSWER_WEIGHTS = effect_weights(1.5, 1.6)


class EventCounts(NamedTuple):
    """Events and the total that they are part of; the shapes are those of `RevisionArrays`."""

    events: Floats
    total: Floats


# Production's events count for at most this factor beyond what the control group shows: pods as new as the canary's may
# fail more often than others, whatever their version.
_BEYOND_CONTROL = math.log(100.0)
# Without anything to compare with, rates above twice the recorded one are sought, as multiples of that.
_ALONE = np.array([1.5, 4.0, 15.0])
_ALONE_WEIGHTS = np.array([0.4, 0.4, 0.2])
_RECORDED_TIMES = 2.0


class RareEvents:
    """Events of the canary as a multiple of stable's, and as a share of its requests (harm)."""

    def __init__(
        self,
        select: Callable[[RevisionArrays], EventCounts | None],
        max_ratio: float,
        max_harm: float,
        weights: Floats = FAILURE_WEIGHTS,
    ) -> None:
        """`select` picks the events; `max_ratio` and `max_harm` are what promotion must exclude (docs/adr/0014)."""
        self._select = select
        rho = max(1.0, max_ratio / 2)
        # Alternatives of both kinds at once: worse, and good enough.
        self._omegas = np.concatenate([rho * OMEGAS, max_ratio / 2 * GOOD_RATIOS])
        self._rhos = np.concatenate([np.full(len(OMEGAS), rho), np.full(len(GOOD_RATIOS), max_ratio)])
        self._max_harm = max_harm
        self._weights = weights

    def initial_state(self, releases: int) -> State:
        """See `Metric.initial_state`."""
        new = ChangepointMixture.new(releases, len(OMEGAS))
        zero, dispersion, ratios = np.zeros(releases), np.zeros((releases, 1)), np.zeros((releases, len(GOOD_RATIOS)))
        return {
            "playing": new.log_wealth,
            "waiting": new.unstarted,
            "seen": new.intervals,
            "armPlaying": new.log_wealth,
            "armWaiting": new.unstarted,
            "armSeen": new.intervals,
            "cleared": ratios,
            "stepCleared": ratios,
            "alone": np.zeros((releases, len(_ALONE))),
            "xc": zero,
            "nc": zero,
            "stepXc": zero,
            "stepNc": zero,
            "xs": zero,
            "ns": zero,
            "last": np.zeros((releases, 2)),
            "squares": dispersion,
            "freedom": dispersion,
            "exposure": dispersion,
        }

    def update(self, state: State, arrays: IntervalArrays) -> MetricUpdate:
        """See `Metric.update`."""
        canary, stable = self._select(arrays.canary), self._select(arrays.stable)
        if canary is None or stable is None:
            return state, no_evidence(arrays)
        counted = (canary.total > 0) & (stable.total > 0)
        dispersion, phi, variation = yield from self._dispersion(state, arrays, stable).evaluate()
        log_e = yield from RateRatioComputation(
            (*canary, *stable), variation[:, 0], self._omegas, self._rhos, arrays.stable_pods
        ).evaluate()
        mixture = ChangepointMixture(state["playing"], state["waiting"], state["seen"])
        mixture, regression = yield from MixtureComputation(
            MixtureUpdate(mixture, log_e[:, : len(OMEGAS)], counted), self._weights
        ).evaluate()
        arm = ChangepointMixture(state["armPlaying"], state["armWaiting"], state["armSeen"])
        control = None if arrays.control is None else self._select(arrays.control)
        if control is not None:
            arm_log_e = yield from RateRatioComputation(
                (*canary, *control),
                variation[:, 0],
                self._omegas[: len(OMEGAS)],
                self._rhos[: len(OMEGAS)],
                arrays.arm_pods,
            ).evaluate()
            arm, by_arm = yield from MixtureComputation(
                MixtureUpdate(arm, arm_log_e, (canary.total > 0) & (control.total > 0)), self._weights
            ).evaluate()
            regression = np.minimum(regression, by_arm + _BEYOND_CONTROL)
        alone = self._alone(state, canary, stable)
        if alone.any():
            both = np.logaddexp(regression, log_sum(alone, _ALONE_WEIGHTS)) - math.log(2.0)
            regression = np.where(alone.any(axis=1), both, regression)
        changed = arrays.step_changed
        ratio_log_e = log_e[:, len(OMEGAS) :]
        cleared = quantize(state["cleared"] + ratio_log_e)
        in_step = quantize(np.where(changed[:, None], 0.0, state["stepCleared"]) + ratio_log_e)
        x_c, n_c = state["xc"] + canary.events, state["nc"] + canary.total
        step_x, step_n = (
            np.where(changed, 0.0, state[name]) + of
            for name, of in (("stepXc", canary.events), ("stepNc", canary.total))
        )
        bound = self._max_harm * np.where(arrays.next_share < 1.0, EARLY, 1.0) / arrays.next_share
        whole = yield from NoninferiorityComputation(cleared, (x_c, n_c, bound, phi[:, 0])).evaluate()
        own = yield from NoninferiorityComputation(in_step, (step_x, step_n, bound, phi[:, 0])).evaluate()
        after = {
            "playing": mixture.log_wealth, "waiting": mixture.unstarted, "seen": mixture.intervals,
            "armPlaying": arm.log_wealth, "armWaiting": arm.unstarted, "armSeen": arm.intervals,
            "cleared": cleared, "stepCleared": in_step, "alone": alone,
            "xc": x_c, "nc": n_c, "stepXc": step_x, "stepNc": step_n,
            "xs": state["xs"] + np.where(counted, stable.events, 0.0),
            "ns": state["ns"] + np.where(counted, stable.total, 0.0),
            "last": np.stack([stable.events, stable.total], axis=1),
            "squares": dispersion.squares, "freedom": dispersion.freedom, "exposure": dispersion.exposure,
        }  # fmt: skip
        return after, LogEvidence(regression, np.minimum(whole, own / OWN_PART))

    def _dispersion(self, state: State, arrays: IntervalArrays, stable: EventCounts) -> DispersionComputation:
        """Of the events between stable's pods; of a single one in production, from each interval to the next."""
        before = Dispersion(state["squares"], state["freedom"], state["exposure"])
        pods = self._select(arrays.pods) if arrays.pods else None
        counted = stable.total > 0
        single = arrays.single
        # As many as the other metrics have, whether or not this one is measured by pod.
        slots = 2 if arrays.pods is None else arrays.pods.requests.shape[1]
        events, total = np.zeros((len(single), slots)), np.zeros((len(single), slots))
        if pods is not None:
            events, total = (np.where(single[:, None], 0.0, of) for of in pods)
        if single.any():
            # Its share does not matter: what it differs by from itself is what pods differ by from each other.
            events[single, :2] = np.stack([state["last"][:, 0], stable.events], axis=1)[single]
            total[single, :2] = np.stack([state["last"][:, 1], stable.total], axis=1)[single]
            usual = state["last"][:, 1] > 0
            if arrays.incident is not None:
                usual &= ~arrays.incident
            counted = counted & np.where(single, usual, True)
        return DispersionComputation(before, events[..., None], total, counted)

    def _alone(self, state: State, canary: EventCounts, stable: EventCounts) -> Floats:
        """Log evidence against "at most twice stable's recorded rate", from intervals in which stable has no request.

        The recorded rate is taken at its upper bound, which it exceeds once in some hundred times.
        """
        alone = (stable.total == 0) & (canary.total > 0)
        if not alone.any():
            return state["alone"]
        x_s, n_s = state["xs"], state["ns"]
        recorded = (x_s + 3.0 + 2.6 * np.sqrt(x_s + 1.0)) / np.maximum(n_s, 1.0)
        bound = np.clip(np.maximum(_RECORDED_TIMES * recorded, self._max_harm), 1e-6, 0.5)[:, None]
        theta = np.minimum(_ALONE * bound, 0.95)
        x, n = canary.events[:, None], canary.total[:, None]
        log_e = x * np.log(theta / bound) + (n - x) * np.log((1.0 - theta) / (1.0 - bound))
        return np.where(alone[:, None], quantize(state["alone"] + log_e), state["alone"])
