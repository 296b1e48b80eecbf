"""Mean durations of the canary's pods against those of the control group: a random effect for every pod.

y = mean of the arm + effect of the pod + noise, all as logarithms. What pods of one version differ by (F12) comes in
two parts. One changes from interval to interval; it is part of the noise, whose size is learnt from the differences of
successive intervals. The other lasts: more requests do not help against it, only more pods do. It is learnt from pods
of one group beside each other, and the null hypothesis is widened by it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from iris_operator.analysis.arrays import POD_VARIANCE, IntervalArrays, LogEvidence, MeanDurations, State
from iris_operator.analysis.evidence.changepoint import (
    ChangepointMixture,
    MixtureUpdate,
    log_mixture_e_values,
    update_mixtures,
)
from iris_operator.analysis.evidence.location import log_above, log_below
from iris_operator.analysis.evidence.logspace import Bools, Floats, log_sum, quantize
from iris_operator.analysis.metrics.margins import EARLY, decisive

# A new model may be a little slower: what is rolled back is slower than this part of the tolerated factor.
ROLLBACK_PART = 1 / 3
# Alternative logarithms of the slowdown beyond what is tolerated, and their weights.
EFFECTS = np.array([0.08, 0.2, 0.5, 1.2])
EFFECT_WEIGHTS = np.array([0.3, 0.3, 0.25, 0.15])
# The part of the variance between pods that lasts.
_LASTING_PART = 0.7
# Standard deviations of the lasting difference of the arms: to roll back, as many as F12 asks for 100:1, which chance
# exceeds once in a thousand rollouts; to promote, for one in twenty.
ROLLBACK_DEVIATIONS = 3.0
PROMOTE_DEVIATIONS = 1.645
# No promotion promises less than this many of them: else a healthy canary with unlucky pods would wait for ever.
PROMISE_DEVIATIONS = 4.4
# Where a canary that is good enough lies between an equal one and the margin, and the weights of these alternatives.
_GOOD_PARTS = np.array([0.0, 0.4, 0.7])
_GOOD_WEIGHTS = np.array([0.4, 0.35, 0.25])
# Strength of the prior "as pods usually differ", in degrees of freedom, and how much one look at the pods counts.
_PRIOR_FREEDOM = 6.0
_LOOKS = 3.0
# Intervals with fewer requests of either are joined with the next.
_MIN_REQUESTS = 5.0
# The least factor by which the noise may be smaller than the prior, and the largest square that one jump counts with.
_MIN_NOISE = 0.5
_MAX_JUMP = 25.0


class Comparison(NamedTuple):
    """What an interval says, by release: log ratio of the means, its noise, and the lasting difference of the arms.

    `level` is the control's mean in seconds. `noise` and `lasting` are standard deviations.
    """

    log_ratio: Floats
    level: Floats
    base: Floats
    noise: Floats
    lasting: Floats


class MeanDuration:
    """Is the canary's mean duration longer by more than a factor and by more than a difference?"""

    def __init__(self, max_slower: float, min_difference: float) -> None:
        """`max_slower` is the factor, `min_difference` the difference in seconds that promotion must exclude."""
        self._max_slower, self._min_difference = max_slower, min_difference

    def initial_state(self, releases: int) -> State:
        """See `Metric.initial_state`."""
        new = ChangepointMixture.new(releases, len(EFFECTS))
        return {
            "playing": new.log_wealth,
            "waiting": new.unstarted,
            "seen": new.intervals,
            "step": np.zeros((releases, len(_GOOD_PARTS))),
            "whole": np.zeros((releases, len(_GOOD_PARTS))),
            "noise": np.zeros((releases, 2)),
            "spread": np.zeros((releases, 3)),
            "last": np.zeros((releases, 2)),
            "pending": np.zeros((releases, 4)),
            "pods": np.ones((releases, 2)),
            "totals": np.zeros((releases, 4)),
        }

    def update(self, state: State, arrays: IntervalArrays, normal: Bools) -> tuple[State, LogEvidence]:
        """The state and the evidence after one more interval; only `normal` ones count, joined to be large enough."""
        means = arrays.means
        if means is None:
            nothing = np.zeros(len(arrays.step_changed))
            return state, LogEvidence(nothing, nothing - np.inf)
        means = means._replace(totals=np.where(normal[:, None], state["pending"] + means.totals, 0.0))
        seconds, requests = means.totals[:, [0, 2]], means.totals[:, [1, 3]]
        # Requests without a duration say nothing.
        counted = normal & (requests >= _MIN_REQUESTS).all(axis=1) & (seconds > 0).all(axis=1)
        compared = compare(state, means, arrays.canary_pods, arrays.arm_pods)
        excess = compared.log_ratio - self.rollback_bound(compared.level, compared.lasting)
        log_e = np.where(counted[:, None], log_above(excess, compared.noise, EFFECTS), 0.0)
        (mixture,) = update_mixtures(
            [MixtureUpdate(ChangepointMixture(state["playing"], state["waiting"], state["seen"]), log_e, counted)],
            arrays.step_changed,
        )
        (regression,) = log_mixture_e_values([mixture], [EFFECT_WEIGHTS])
        before = np.where(arrays.step_changed[:, None], 0.0, state["step"])
        gain = [np.where(counted[:, None], self._below(compared, share), 0.0) for share in arrays.target_shares.T]
        step, whole = quantize(before + gain[0]), quantize(state["whole"] + gain[1])
        own, all_steps = (log_sum(each, _GOOD_WEIGHTS) for each in (step, whole))
        after = {
            "playing": mixture.log_wealth, "waiting": mixture.unstarted, "seen": mixture.intervals,
            "step": step, "whole": whole,
            **_learn(state, means, compared, counted),
            "pods": np.stack([arrays.canary_pods, arrays.arm_pods], axis=1),
            "pending": np.where(counted[:, None], 0.0, means.totals).round(4),
            "totals": (state["totals"] + np.where(counted[:, None], means.totals, 0.0)).round(4),
        }  # fmt: skip
        return after, LogEvidence(regression, decisive(own, all_steps, arrays))

    def rollback_bound(self, level: Floats, lasting: Floats) -> Floats:
        """The logarithm of the ratio up to which no canary is rolled back, at this mean of the control in seconds."""
        factor = 1.0 + (self._max_slower - 1.0) * ROLLBACK_PART
        difference = np.log1p(self._min_difference / np.maximum(level, 1e-9))
        return np.asarray(np.maximum(math.log(factor), difference) + ROLLBACK_DEVIATIONS * lasting)

    def promise(self, level: Floats, lasting: Floats, share: Floats) -> Floats:
        """The logarithm of the ratio that a promotion to `share` of the traffic excludes.

        Where pods differ so much that the margin cannot be told, it is what can be told: see `docs/analysis.md`.
        """
        times = np.where(share < 1.0, EARLY, 1.0) / share
        factor = np.log1p((self._max_slower - 1.0) * times)
        difference = np.log1p(self._min_difference * times / np.maximum(level, 1e-9))
        return np.asarray(np.maximum(np.maximum(factor, difference), PROMISE_DEVIATIONS * lasting))

    def _below(self, compared: Comparison, share: Floats) -> Floats:
        """log e by alternative against the promise, less what the pods' lasting difference may hide."""
        margin = self.promise(compared.level, compared.lasting, share) - PROMOTE_DEVIATIONS * compared.lasting
        part = margin[:, None] * _GOOD_PARTS
        return log_below(compared.log_ratio[:, None] - part, compared.noise[:, None], margin[:, None] - part)


def compare(state: State, means: MeanDurations, pods_c: Floats, pods_s: Floats) -> Comparison:
    """The interval's comparison, with noise and lasting difference as learnt before it."""
    seconds_c, n_c, seconds_s, n_s = means.totals.T
    measured = (seconds_c > 0) & (seconds_s > 0) & (n_c > 0) & (n_s > 0)
    level = np.where(measured, seconds_s / np.where(measured, n_s, 1.0), 0.0)
    ratio = np.where(measured, seconds_c * n_s / np.where(measured, n_c * seconds_s, 1.0), 1.0)
    pairs = 1.0 / np.maximum(pods_c, 1.0) + 1.0 / np.maximum(pods_s, 1.0)
    sampling = np.where(measured, 1.0 / np.where(measured, n_c, 1.0) + 1.0 / np.where(measured, n_s, 1.0), 1.0)
    base = POD_VARIANCE * pairs + means.dispersion * sampling
    squares, freedom = state["noise"].T
    noise = np.maximum((_PRIOR_FREEDOM + squares) / (_PRIOR_FREEDOM + freedom), _MIN_NOISE)
    lasting = lasting_variance(state) * pairs
    return Comparison(np.log(ratio), level, base, np.sqrt(noise * base), np.sqrt(lasting))


def lasting_variance(state: State) -> Floats:
    """The variance of the logarithm of the mean duration between pods that lasts, as learnt so far."""
    squares, freedom, looks = state["spread"].T
    a_look = freedom / np.maximum(looks, 1.0)
    ratio = squares / np.maximum(freedom, 1.0)
    learnt = (_PRIOR_FREEDOM + _LOOKS * a_look * ratio) / (_PRIOR_FREEDOM + _LOOKS * a_look)
    return np.asarray(_LASTING_PART * POD_VARIANCE * learnt)


def _learn(state: State, means: MeanDurations, compared: Comparison, counted: Bools) -> dict[str, Floats]:
    """What the interval says about noise and about pods: from the step to the interval before, and between pods."""
    now = compared.log_ratio / np.sqrt(compared.base)
    last, has_last = state["last"].T
    both = counted & (has_last > 0)
    jump = np.where(both, np.minimum((now - last) ** 2 / 2.0, _MAX_JUMP), 0.0)
    noise = np.stack([state["noise"][:, 0] + jump, state["noise"][:, 1] + both], axis=1)
    looked = means.spread[:, 1] > 0
    spread = state["spread"] + np.concatenate([means.spread, looked[:, None]], axis=1)
    kept = np.where(counted[:, None], np.stack([now, np.ones(len(now))], axis=1), state["last"])
    return {"noise": noise.round(4), "spread": spread.round(4), "last": kept.round(6)}
