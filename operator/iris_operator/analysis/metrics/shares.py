"""Shares of the predicted classes: has the canary's mix moved? F3, one class against the rest, in both directions."""

from __future__ import annotations

import numpy as np

from iris_operator.analysis.evidence.dispersion import Dispersion, add_pods, factor
from iris_operator.analysis.evidence.logspace import Floats, stored
from iris_operator.analysis.evidence.starts import Started, add_interval, log_evidence
from iris_operator.analysis.look import Look, Signals, State
from iris_operator.analysis.metrics.margins import Comparison, columns_of, fold_margins

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

    def fold(self, state: State, look: Look) -> tuple[State, Signals]:
        """See `Metric.fold`."""
        return fold_margins([self], [state], look)[0]

    def compare(self, state: State, look: Look) -> Comparison | None:
        """See `Comparing.compare`."""
        canary, stable = look.canary.classes, look.stable.classes
        if canary is None or stable is None:
            return None
        n_c, n_s = canary.sum(axis=1, keepdims=True), stable.sum(axis=1, keepdims=True)
        counted = (n_c[:, 0] > 0) & (n_s[:, 0] > 0) & (state["past"].sum(axis=1) > 0)
        noise = Dispersion(state["squares"], state["freedom"], state["exposure"])
        if look.pods is not None and look.pods.classes is not None:
            noise = add_pods(noise, look.pods.classes, look.pods.classes.sum(axis=2), n_s[:, 0] > 0)
        phi = factor(noise, look.load)
        # A class gained is a class lost by the rest: the second half mirrors the first, so that one side is enough.
        x_c, x_s = (np.concatenate([x, n - x], axis=1) for x, n in ((canary, n_c), (stable, n_s)))
        share = (state["past"] + _SMOOTH) / (state["past"] + _SMOOTH).sum(axis=1, keepdims=True)
        theta_s = np.concatenate([share, 1.0 - share], axis=1)
        noisy = np.concatenate([phi, phi], axis=1)
        # The last two columns are the bets on going on: as stable, against the margins of this step and of the whole.
        here = theta_s[..., None]
        margins = np.minimum(self._max_shift / look.ahead, 1.0 - 1e-9)
        limit = self._max_shift * ROLLBACK_PART
        theta_c = np.minimum(here + limit * _COLUMNS, 1.0 - _EDGE)
        delta = np.concatenate([np.full((len(n_c), len(EFFECTS)), limit), margins], axis=1)[:, None]

        def settle(bets: Floats) -> tuple[State, Signals]:
            bets = bets / noisy[..., None]
            log_e, gains = bets[..., : len(EFFECTS)], bets[..., len(EFFECTS) :]
            started = add_interval(
                Started(state["playing"], state["waiting"], state["seen"]),
                log_e.reshape(len(n_c), -1),
                look.step_changed,
                counted,
            )
            use = counted[:, None]
            before = np.where(look.step_changed[:, None], 0.0, state["step"])
            after = {
                "playing": started.playing, "waiting": started.waiting, "seen": started.seen,
                "step": np.where(use, stored(before + gains[..., 0]), before),
                "whole": np.where(use, stored(state["whole"] + gains[..., 1]), state["whole"]),
                "squares": noise.squares, "freedom": noise.freedom, "exposure": noise.exposure,
                "past": (_FADE * state["past"] + stable).round(2),
                "canary": state["canary"] + np.where(use, canary, 0.0),
                "stable": state["stable"] + np.where(use, stable, 0.0),
            }  # fmt: skip
            good = np.where(look.next_share >= 1.0, after["whole"].min(axis=1), after["step"].min(axis=1))
            return after, Signals(log_evidence(started, self._pi), good)

        return Comparison(columns_of(x_c, n_c, x_s, n_s, theta_c, theta_s, delta), self._sides, settle)
