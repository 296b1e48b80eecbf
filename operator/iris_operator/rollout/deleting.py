"""The resource is being deleted: stable has all traffic before the canary goes; the rest is garbage-collected."""

from __future__ import annotations

from iris_operator.rollout.decision import Decision, DeleteWorkload, SetWeight
from iris_operator.rollout.plan import DRAIN_SECONDS, POLL_SECONDS, Plan, seconds_since


def deleting(plan: Plan) -> Decision:
    """Weight 0, drained, canary removed; then the finalizer may go."""
    plan.wake(POLL_SECONDS)
    if plan.o.route.weight != 0:
        plan.act(SetWeight(0))
        plan.rollout(settled_at=None)
        plan.wake(0)
        return plan.done("Deleting", "the traffic goes back to stable first")
    stable = plan.status.stable
    canary = plan.status.canary
    if canary is None or canary.revision not in plan.o.workloads or (stable and canary.revision == stable.revision):
        return plan.done("Deleting", "nothing but stable is left", deleted=True)
    if plan.status.rollout.settled_at is None or plan.status.rollout.reason != "Deleting":
        plan.rollout(settled_at=plan.now)
        plan.wake(DRAIN_SECONDS)
        return plan.done("Deleting", "the canary drains")
    left = DRAIN_SECONDS - seconds_since(plan.status.rollout.settled_at, plan.now)
    if left > 0:
        plan.wake(left)
        return plan.done("Deleting", "the canary drains")
    plan.act(DeleteWorkload(canary.revision))
    return plan.done("Deleting", "the canary is removed", deleted=True)
