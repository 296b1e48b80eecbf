"""Shares of the predicted classes: has the canary's mix moved? F3, one class against the rest, in both directions."""

from __future__ import annotations

import numpy as np

from iris_operator.analysis.arrays import IntervalArrays, LogEvidence, MetricUpdate, State, no_evidence
from iris_operator.analysis.evidence.changepoint import ChangepointMixture, MixtureUpdate
from iris_operator.analysis.evidence.dispersion import Dispersion
from iris_operator.analysis.evidence.logspace import Floats
from iris_operator.analysis.metrics.batching import (
    DispersionComputation,
    MixtureComputation,
    ShareDifferenceComputation,
)
from iris_operator.analysis.metrics.margins import add_noninferiority_evidence, bet_columns

# A new model may differ a little: what is rolled back is a shift beyond this part of the one that promotion excludes.
ROLLBACK_PART = 1 / 3
# Alternative shifts, as multiples of the one that is rolled back.
EFFECTS = np.array([2.0, 4.0, 8.0])
EFFECT_WEIGHTS = np.array([0.75, 0.15, 0.1])
_EFFECT_COLUMNS = np.concatenate([EFFECTS, [0.0, 0.0]])
_DIRECTIONS = np.array([1.0] * len(EFFECTS) + [-1.0, -1.0])
_DECAY = 0.98
_SMOOTH = 0.5
_MIN_DISTANCE = 1e-4


class ClassShares:
    """Has any class gained or lost more than a margin?"""

    def __init__(self, classes: int, max_shift: float) -> None:
        """`max_shift` is the difference of a class's share that promotion must exclude, as a fraction."""
        self._classes = classes
        self._max_shift = max_shift
        self._directions = np.tile(_DIRECTIONS, 2 * classes)
        self._weights = np.tile(EFFECT_WEIGHTS, 2 * classes) / (2 * classes)

    def initial_state(self, releases: int) -> State:
        """See `Metric.initial_state`."""
        new = ChangepointMixture.new(releases, len(self._weights))
        both = np.zeros((releases, 2 * self._classes))
        one = np.zeros((releases, self._classes))
        return {
            "playing": new.log_wealth,
            "waiting": new.unstarted,
            "seen": new.intervals,
            "step": both,
            "whole": both,
            "squares": one,
            "freedom": one,
            "exposure": one,
            "past": one,
            "canary": one,
            "stable": one,
        }

    def update(self, state: State, arrays: IntervalArrays) -> MetricUpdate:
        """See `Metric.update`."""
        canary, stable = arrays.canary.classes, arrays.stable.classes
        if canary is None or stable is None:
            return state, no_evidence(arrays)
        n_c, n_s = canary.sum(axis=1, keepdims=True), stable.sum(axis=1, keepdims=True)
        past = state["past"]
        counted = (n_c[:, 0] > 0) & (n_s[:, 0] > 0) & (past.sum(axis=1) > 0)
        pods = arrays.pods.classes if arrays.pods else None
        before = Dispersion(state["squares"], state["freedom"], state["exposure"])
        between_pods = DispersionComputation(before, pods, None if pods is None else pods.sum(axis=2), n_s[:, 0] > 0)
        dispersion, phi, _ = yield from between_pods.evaluate()
        theta_c, theta_s, delta = self._alternatives(past, arrays.target_shares)
        # A class gained is a class lost by the rest: the second half mirrors the first, and a one-sided test suffices.
        x_c, x_s = (np.concatenate([x, n - x], axis=1) for x, n in ((canary, n_c), (stable, n_s)))
        columns = bet_columns(x_c, n_c, x_s, n_s, theta_c, theta_s, delta)
        log_e = yield from ShareDifferenceComputation(columns, self._directions).evaluate()
        log_e = log_e.reshape(theta_c.shape) / np.concatenate([phi, phi], axis=1)[..., None]
        regression_log_e = log_e[..., : len(EFFECTS)].reshape(len(n_c), -1)
        mixture = ChangepointMixture(state["playing"], state["waiting"], state["seen"])
        mixture, regression = yield from MixtureComputation(
            MixtureUpdate(mixture, regression_log_e, counted), self._weights
        ).evaluate()
        noninferiority = add_noninferiority_evidence(state, arrays, log_e[..., len(EFFECTS) :], counted)
        use = counted[:, None]
        after = {
            "playing": mixture.log_wealth, "waiting": mixture.unstarted, "seen": mixture.intervals,
            "step": noninferiority.step, "whole": noninferiority.rollout,
            "squares": dispersion.squares, "freedom": dispersion.freedom, "exposure": dispersion.exposure,
            "past": (_DECAY * past + stable).round(2),
            "canary": state["canary"] + np.where(use, canary, 0.0),
            "stable": state["stable"] + np.where(use, stable, 0.0),
        }  # fmt: skip
        return after, LogEvidence(regression, noninferiority.decisive)

    def _alternatives(self, past: Floats, target_shares: Floats) -> tuple[Floats, Floats, Floats]:
        """The canary's shares under the alternatives, stable's expected shares, and the differences to exclude.

        The last two columns are for promotion: the same share as stable, against the margins of this step and of the
        whole rollout.
        """
        smooth = past + _SMOOTH
        share = smooth / smooth.sum(axis=1, keepdims=True)
        theta_s = np.concatenate([share, 1.0 - share], axis=1)
        limit = self._max_shift * ROLLBACK_PART
        theta_c = np.minimum(theta_s[..., None] + limit * _EFFECT_COLUMNS, 1.0 - _MIN_DISTANCE)
        delta = np.full((len(past), 1, len(_EFFECT_COLUMNS)), limit)
        delta[:, 0, len(EFFECTS) :] = np.minimum(self._max_shift / target_shares, 1.0 - 1e-9)
        return theta_c, theta_s, delta
