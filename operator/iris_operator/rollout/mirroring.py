"""Copies of requests for the canary: before it gets a request, and of none of them afterwards."""

from __future__ import annotations

from iris_operator.api.spec import Step
from iris_operator.api.status import Stage
from iris_operator.rollout.decision import Mirror
from iris_operator.rollout.plan import Plan, steps_of


def mirror(plan: Plan) -> None:
    """Keep the plan of the copies as the status means it. A release without a step for them never has one."""
    wanted, seen = _wanted(plan), plan.o.shadowing
    if seen is None and wanted.revision is None:
        return
    if plan.status.rollout.stage is Stage.ROLLING_BACK and plan.o.route.weight > 0:
        # Traffic leaves the canary before anything else happens to it, and nothing may stand in the way of that.
        return
    if seen and not seen.intact:
        plan.tell("ShadowRepaired", "the plan of the copies was changed by somebody else; applied again", warning=True)
    if seen is None or not seen.intact or (seen.revision, seen.share) != (wanted.revision, wanted.share):
        plan.act(wanted)


def shadowed(plan: Plan, step: Step) -> bool:
    """Does the plan of the copies say what this step asks for?"""
    seen, canary = plan.o.shadowing, plan.status.canary
    return seen is not None and canary is not None and (seen.revision, seen.share) == (canary.revision, step.shadow)


def _wanted(plan: Plan) -> Mirror:
    """Labels come late, so the canary is compared with stable on what was copied until its turn is over."""
    steps, canary, index = steps_of(plan.o.spec), plan.status.canary, plan.status.step.index
    progressing = plan.status.rollout.stage is Stage.PROGRESSING
    if canary is None or not progressing or not index or not any(step.shadow for step in steps):
        return Mirror(None)
    step = steps[min(index, len(steps)) - 1]
    return Mirror(canary.revision, step.shadow or 0)
