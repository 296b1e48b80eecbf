"""Shares of the predicted classes: has the canary's mix moved? F3, one class against the rest, in both directions."""

from __future__ import annotations

import numpy as np

from iris_operator.analysis.evidence.dispersion import Dispersion
from iris_operator.analysis.evidence.logspace import Floats
from iris_operator.analysis.evidence.starts import Stake, Started
from iris_operator.analysis.look import Folding, Look, Signals, State, nothing_said
from iris_operator.analysis.metrics.lockstep import Bets, Pods, Shares
from iris_operator.analysis.metrics.margins import columns_of, earn

# A new model may differ a little: what is rolled back is a shift beyond this part of the one that promotion excludes.
ROLLBACK_PART = 1 / 3
# Shifts worth betting on, as multiples of the one that is rolled back.
EFFECTS = np.array([2.0, 4.0, 8.0])
EFFECT_PI = np.array([0.75, 0.15, 0.1])
_COLUMNS = np.concatenate([EFFECTS, [0.0, 0.0]])
_SIDES = np.array([1.0] * len(EFFECTS) + [-1.0, -1.0])
_FADE = 0.98
_SMOOTH = 0.5
_EDGE = 1e-4


class ClassShares:
    """Has any class gained or lost more than a margin?"""

    def __init__(self, classes: int, max_shift: float) -> None:
        """`max_shift` is the difference of a class's share that promotion must exclude, as a fraction."""
        self._classes = classes
        self._max_shift = max_shift
        self._sides = np.tile(_SIDES, 2 * classes)
        self._pi = np.tile(EFFECT_PI, 2 * classes) / (2 * classes)

    def start(self, releases: int) -> State:
        """See `Metric.start`."""
        new = Started.new(releases, len(self._pi))
        both = np.zeros((releases, 2 * self._classes))
        one = np.zeros((releases, self._classes))
        return {
            "playing": new.playing,
            "waiting": new.waiting,
            "seen": new.seen,
            "step": both,
            "whole": both,
            "squares": one,
            "freedom": one,
            "exposure": one,
            "past": one,
            "canary": one,
            "stable": one,
        }

    def fold(self, state: State, look: Look) -> Folding:
        """See `Metric.fold`."""
        canary, stable = look.canary.classes, look.stable.classes
        if canary is None or stable is None:
            return state, nothing_said(look)
        n_c, n_s = canary.sum(axis=1, keepdims=True), stable.sum(axis=1, keepdims=True)
        past = state["past"]
        counted = (n_c[:, 0] > 0) & (n_s[:, 0] > 0) & (past.sum(axis=1) > 0)
        pods = look.pods.classes if look.pods else None
        before = Dispersion(state["squares"], state["freedom"], state["exposure"])
        of_pods = Pods(before, pods, None if pods is None else pods.sum(axis=2), n_s[:, 0] > 0)
        noise, phi, _ = yield from of_pods.ask()
        theta_c, theta_s, delta = self._bets(past, look.ahead)
        # A class gained is a class lost by the rest: the second half mirrors the first, so that one side is enough.
        x_c, x_s = (np.concatenate([x, n - x], axis=1) for x, n in ((canary, n_c), (stable, n_s)))
        columns = columns_of(x_c, n_c, x_s, n_s, theta_c, theta_s, delta)
        outcome = yield from Shares(columns, self._sides).ask()
        noisy = np.concatenate([phi, phi], axis=1)
        outcome = outcome.reshape(theta_c.shape) / noisy[..., None]
        log_e = outcome[..., : len(EFFECTS)].reshape(len(n_c), -1)
        begun = Started(state["playing"], state["waiting"], state["seen"])
        started, worse = yield from Bets(Stake(begun, log_e, counted), self._pi).ask()
        earned = earn(state, look, outcome[..., len(EFFECTS) :], counted)
        use = counted[:, None]
        after = {
            "playing": started.playing, "waiting": started.waiting, "seen": started.seen,
            "step": earned.step, "whole": earned.whole,
            "squares": noise.squares, "freedom": noise.freedom, "exposure": noise.exposure,
            "past": (_FADE * past + stable).round(2),
            "canary": state["canary"] + np.where(use, canary, 0.0),
            "stable": state["stable"] + np.where(use, stable, 0.0),
        }  # fmt: skip
        return after, Signals(worse, earned.good)

    def _bets(self, past: Floats, ahead: Floats) -> tuple[Floats, Floats, Floats]:
        """The canary's shares that are bet on, stable's that are expected, and the differences that are bet against.

        The last two columns are the bets on going on: as stable, against the margins of this step and of the whole.
        """
        smooth = past + _SMOOTH
        share = smooth / smooth.sum(axis=1, keepdims=True)
        theta_s = np.concatenate([share, 1.0 - share], axis=1)
        limit = self._max_shift * ROLLBACK_PART
        theta_c = np.minimum(theta_s[..., None] + limit * _COLUMNS, 1.0 - _EDGE)
        delta = np.full((len(past), 1, len(_COLUMNS)), limit)
        delta[:, 0, len(EFFECTS) :] = np.minimum(self._max_shift / ahead, 1.0 - 1e-9)
        return theta_c, theta_s, delta
