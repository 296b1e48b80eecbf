"""Steps that are edited during a rollout: which of them the canary has passed, and which it has not."""

from __future__ import annotations

from collections.abc import Sequence

from iris_operator.analysis.checkpoint import weight_in_checkpoint
from iris_operator.api.spec import Step
from iris_operator.api.status import Shortcut
from iris_operator.rollout.builder import ALL_TRAFFIC, DecisionBuilder


def current_step(builder: DecisionBuilder, steps: Sequence[Step]) -> int:
    """The number of the step that the canary is in, also when steps were edited since it began.

    It is not in the last one before all of the traffic was confirmed, nor in one with a weight when it has none (its
    requests were mirrored). When it is in none of the steps, it starts with the first.
    """
    index, rollout = min(builder.status.step.index, len(steps)), builder.status.rollout
    if rollout.step_started_at is None:
        if rollout.shortcut is not Shortcut.NONE:
            return index  # no evidence was asked for
        # Not confirmed yet, and the evidence was for the step as it was.
        while index > 1 and steps[index - 1].weight > judged_weight(builder):
            index -= 1
        return index
    if index == len(steps) and rollout.confirmed_weight < ALL_TRAFFIC:
        index -= 1
    if index and (steps[index - 1].shadow or rollout.confirmed_weight > 0):
        return index
    builder.update_rollout(step_started_at=None, confirmed_weight=0, earned_pods=0, hold_since=builder.now)
    return 0


def judged_weight(builder: DecisionBuilder) -> int:
    """The weight, in percent, that the newest judgement was about; 0 without one."""
    return weight_in_checkpoint(builder.status.analysis.memory) if builder.status.analysis else 0
