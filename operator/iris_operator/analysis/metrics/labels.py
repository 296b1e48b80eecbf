"""Labels that come later: F9. F1 on wrong answers and the paired mixture to roll back, F3 to go on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from iris_operator.analysis.evidence.dispersion import Dispersion, factor
from iris_operator.analysis.evidence.logspace import stored
from iris_operator.analysis.evidence.margin import log_below
from iris_operator.analysis.evidence.paired import log_paired
from iris_operator.analysis.look import Folding, Look, Side, Signals, State
from iris_operator.analysis.metrics.rare import OF_WRONG_ANSWERS, Events, RareEvents

# Stable's wrong answers before the first label: a prior of one in ten, worth ten labels.
_PRIOR_WRONG, _PRIOR_LABELS = 1.0, 10.0


class WrongAnswers:
    """How much more often is the canary wrong? Strata are the intervals: both versions' answers of the same time."""

    def __init__(self, max_drop: float, *, paired: bool) -> None:
        """`max_drop` is the loss of accuracy that promotion must exclude, as a fraction.

        `paired` says before the first label whether both versions answer the same requests; then half the stake is on
        the pairs.
        """
        self._max_drop = max_drop
        self._paired = paired
        self._wrong = RareEvents(_events, 2.0, 0.5, OF_WRONG_ANSWERS)

    def start(self, releases: int) -> State:
        """See `Metric.start`."""
        zero = np.zeros(releases)
        return {**self._wrong.start(releases), "step": zero, "whole": zero, "pairs": np.zeros((releases, 2))}

    def fold(self, state: State, look: Look) -> Folding:
        """See `Metric.fold`."""
        after, signals = yield from self._wrong.fold(state, look)
        canary, stable = _events(look.canary), _events(look.stable)
        if canary is None or stable is None:
            return state, signals
        theta = (state["xs"] + _PRIOR_WRONG) / (state["ns"] + _PRIOR_LABELS)
        phi = factor(Dispersion(after["squares"], after["freedom"], after["exposure"]), look.load)[:, 0]
        counted = (canary.total > 0) & (stable.total > 0)
        gains = [
            log_below(
                canary.events, canary.total, stable.events, stable.total, (theta, theta), np.minimum(drop, 1 - 1e-9)
            )
            / phi
            for drop in (self._max_drop / look.next_share, np.asarray(self._max_drop))
        ]
        before = np.where(look.step_changed, 0.0, state["step"])
        step = np.where(counted, stored(before + gains[0]), before)
        whole = np.where(counted, stored(state["whole"] + gains[1]), state["whole"])
        pairs = state["pairs"] if look.pairs is None else state["pairs"] + look.pairs
        worse = np.logaddexp(signals.worse, _paired(pairs)) - np.log(2.0) if self._paired else signals.worse
        kept: Mapping[str, np.ndarray] = {**after, "step": step, "whole": whole, "pairs": pairs}
        return kept, Signals(worse, np.where(look.next_share >= 1.0, whole, step))


def _paired(pairs: np.ndarray) -> np.ndarray:
    return np.array([log_paired(int(only_stable), int(only_canary)) for only_stable, only_canary in pairs])


def _events(side: Side) -> Events | None:
    return None if side.labelled is None or side.wrong is None else Events(side.wrong, side.labelled)
