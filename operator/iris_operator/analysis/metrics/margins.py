"""What the comparisons of shares (F3) have in common."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from iris_operator.analysis.arrays import IntervalArrays, State
from iris_operator.analysis.evidence.logspace import Bools, Floats, quantize

# Before the last step three times the margin is tolerated: the margin itself is excluded before all of the traffic,
# with the requests of all steps.
EARLY = 3.0
# The part of the evidence that a step must earn by requests of its own.
OWN_PART = 0.25


class NoninferiorityEvidence(NamedTuple):
    """Log evidence for promotion by kind, in this step and in the rollout; the least of it, by release, decides."""

    step: Floats
    rollout: Floats
    decisive: Floats


def bet_columns(
    x_c: Floats, n_c: Floats, x_s: Floats, n_s: Floats, theta_c: Floats, theta_s: Floats, delta: Floats
) -> Floats:
    """The arguments of `log_share_difference` in one array: the first axis is the argument, the last the alternative.

    Events `x` and the shares of stable are by release and kind, requests `n` by release with an axis of one kind; the
    alternative shares of the canary are by release, kind and alternative, and the differences broadcast to that.
    """
    columns = np.empty((7, *theta_c.shape))
    for at, value in ((0, x_c), (1, n_c), (2, x_s), (3, n_s), (5, theta_s)):
        columns[at] = value[..., None]
    columns[4], columns[6] = theta_c, delta
    return columns.reshape(7, len(theta_c), -1)


def add_noninferiority_evidence(
    state: State, arrays: IntervalArrays, log_e: Floats, counted: Bools
) -> NoninferiorityEvidence:
    """Add this interval's `log_e`: by release, kind, and (against the margin of the step, of the rollout)."""
    use = counted[:, None]
    before = np.where(arrays.step_changed[:, None], 0.0, state["step"])
    step = np.where(use, quantize(before + log_e[..., 0]), before)
    rollout = np.where(use, quantize(state["whole"] + log_e[..., 1]), state["whole"])
    return NoninferiorityEvidence(step, rollout, decisive(step.min(axis=1), rollout.min(axis=1), arrays))


def decisive(step: Floats, whole: Floats, arrays: IntervalArrays) -> Floats:
    """Log evidence that decides a promotion: the step's own, or before all of the traffic the rollout's.

    The latter counts only as far as the step has earned its part: no step passes without requests of its own. A canary
    that is alone has nothing to earn it against; rare events, which need no reference, are left to require requests.
    """
    alone = (arrays.stable.requests == 0) & (arrays.canary.requests > 0)
    own = np.where(alone, np.inf, step / OWN_PART)
    return np.asarray(np.where(arrays.next_share >= 1.0, np.minimum(whole, own), step))
