"""What the comparisons of shares have in common."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from iris_operator.analysis.evidence.logspace import Bools, Floats, stored
from iris_operator.analysis.look import Look, State


class Earned(NamedTuple):
    """What has been earned for going on: in this step and in the whole rollout, by kind; the least of it decides."""

    step: Floats
    whole: Floats
    good: Floats


def columns_of(
    x_c: Floats, n_c: Floats, x_s: Floats, n_s: Floats, theta_c: Floats, theta_s: Floats, delta: Floats
) -> Floats:
    """The quantities of `log_beside` in one array, the first axis runs over them, the last one over all bets.

    Events `x` and the shares of stable are by release and kind, requests `n` by release with an axis of one kind; the
    shares of the canary that are bet on are by release, kind and bet, and the differences can be.
    """
    columns = np.empty((7, *theta_c.shape))
    for at, value in ((0, x_c), (1, n_c), (2, x_s), (3, n_s), (5, theta_s)):
        columns[at] = value[..., None]
    columns[4], columns[6] = theta_c, delta
    return columns.reshape(7, len(theta_c), -1)


def earn(state: State, look: Look, gains: Floats, counted: Bools) -> Earned:
    """Add what this interval brings: `gains` are by release, kind, and (for the step, for the whole)."""
    use = counted[:, None]
    before = np.where(look.step_changed[:, None], 0.0, state["step"])
    step = np.where(use, stored(before + gains[..., 0]), before)
    whole = np.where(use, stored(state["whole"] + gains[..., 1]), state["whole"])
    return Earned(step, whole, np.where(look.next_share >= 1.0, whole.min(axis=1), step.min(axis=1)))
