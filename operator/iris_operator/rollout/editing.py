"""Steps that are edited while a canary takes them: what it has earned, and what it has not."""

from __future__ import annotations

from collections.abc import Sequence

from iris_operator.analysis.memory import judged_for
from iris_operator.api.spec import Step
from iris_operator.rollout.plan import ALL_TRAFFIC, Plan


def reached(plan: Plan, steps: Sequence[Step]) -> int:
    """The number of the step that the canary is in, also when steps were edited since it began.

    It is not in the last one before all of the traffic was confirmed, nor in one with a share when it has none (it was
    getting copies). Without a step that it is in, it begins anew.
    """
    index, rollout = min(plan.status.step.index, len(steps)), plan.status.rollout
    if rollout.step_started_at is None:
        # Not confirmed yet, and the evidence was for the step as it was.
        while index > 1 and steps[index - 1].weight > judged_weight(plan):
            index -= 1
        return index
    if index == len(steps) and rollout.confirmed_weight < ALL_TRAFFIC:
        index -= 1
    if index and (steps[index - 1].shadow or rollout.confirmed_weight > 0):
        return index
    plan.rollout(step_started_at=None, confirmed_weight=0, earned_pods=0, hold_since=plan.now)
    return 0


def judged_weight(plan: Plan) -> int:
    """The weight, in percent, that the newest judgement was about; 0 without one."""
    return judged_for(plan.status.analysis.memory) if plan.status.analysis else 0
