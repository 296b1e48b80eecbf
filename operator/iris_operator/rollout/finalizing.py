"""The resource is being deleted: stable gets all traffic, then the canary is deleted; the rest is garbage-collected."""

from __future__ import annotations

from iris_operator.rollout.builder import DRAIN_SECONDS, POLL_SECONDS, DecisionBuilder, seconds_since
from iris_operator.rollout.comparison import delete_control_groups
from iris_operator.rollout.decision import Decision, DeleteWorkload, SetWeight


def finalizing(builder: DecisionBuilder) -> Decision:
    """Weight 0, connections drained, canary removed; then the finalizer is released."""
    builder.requeue_after(POLL_SECONDS)
    if builder.observation.route.weight != 0:
        builder.add_action(SetWeight(0))
        builder.update_rollout(settled_at=None)
        builder.requeue_after(0)
        return builder.build("Deleting", "all traffic moves to stable first")
    stable = builder.status.stable
    canary = builder.status.canary
    if (
        canary is None
        or canary.revision not in builder.observation.workloads
        or (stable and canary.revision == stable.revision)
    ):
        delete_control_groups(builder)
        return builder.build("Deleting", "nothing but stable is left", deleted=True)
    if builder.status.rollout.settled_at is None or builder.status.rollout.reason != "Deleting":
        builder.update_rollout(settled_at=builder.now)
        builder.requeue_after(DRAIN_SECONDS)
        return builder.build("Deleting", "the canary drains")
    left = DRAIN_SECONDS - seconds_since(builder.status.rollout.settled_at, builder.now)
    if left > 0:
        builder.requeue_after(left)
        return builder.build("Deleting", "the canary drains")
    builder.add_action(DeleteWorkload(canary.revision))
    delete_control_groups(builder)
    return builder.build("Deleting", "the canary is removed", deleted=True)
