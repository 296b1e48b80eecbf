"""Copies of requests for the canary: before it gets a request, and of none of them afterwards."""

from __future__ import annotations

from iris_operator.analysis.checks import copies
from iris_operator.api.spec import Step
from iris_operator.api.status import Stage
from iris_operator.rollout.decision import Mirror
from iris_operator.rollout.plan import Plan, capacity, steps_of
from iris_operator.rollout.scaling import pods_for_all


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


def begin_with_the_first_copy(plan: Plan) -> None:
    """The dwell time is one with copies: it takes the kubelet a while to bring the plan to stable's pods."""
    judgement, through, started = plan.o.judgement, plan.o.judged_through, plan.status.rollout.step_started_at
    if judgement is None or not judgement.counted or through is None or started is None or through <= started:
        return
    if any(result.name == copies.NAME and not result.requests for result in judgement.results):
        plan.rollout(step_started_at=through)


def _wanted(plan: Plan) -> Mirror:
    """Labels come late, so the canary is compared with stable on what was copied until its turn is over."""
    steps, canary, index = steps_of(plan.o.spec), plan.status.canary, plan.status.step.index
    progressing = plan.status.rollout.stage is Stage.PROGRESSING
    if canary is None or not progressing or not index or not any(step.shadow for step in steps):
        return Mirror(None)
    share = steps[min(index, len(steps)) - 1].shadow or 0
    seen, pods = plan.o.shadowing, plan.o.workloads.get(canary.revision)
    if plan.status.rollout.step_started_at and (pods.ready if pods else 0) < capacity(pods_for_all(plan), share):
        # The step was edited, and the pods for more copies are still to come.
        share = min(share, seen.share if seen and seen.revision == canary.revision else 0)
    return Mirror(canary.revision, share)
