"""The resource is being deleted: stable gets all traffic, then the canary is deleted; the rest is garbage-collected.

What the stable Service selects stays, whatever the status calls it: after the switch of a promotion that is the canary.
"""

from __future__ import annotations

from iris_operator.rollout.builder import DRAIN_SECONDS, POLL_SECONDS, DecisionBuilder, seconds_since
from iris_operator.rollout.comparison import delete_control_groups
from iris_operator.rollout.decision import Decision, DeleteWorkload, SelectRevision, SetWeight


def finalizing(builder: DecisionBuilder) -> Decision:
    """Weight 0, connections drained, canary removed; then the finalizer is released."""
    builder.requeue_after(POLL_SECONDS)
    if builder.observation.route.weight != 0:
        builder.update_rollout(settled_at=None)
        return _return_traffic(builder)
    canary = _canary(builder)
    if canary is None:
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
    builder.add_action(DeleteWorkload(canary))
    delete_control_groups(builder)
    return builder.build("Deleting", "the canary is removed", deleted=True)


def _return_traffic(builder: DecisionBuilder) -> Decision:
    stable, canary = builder.observation.stable, builder.observation.canary
    if not sum(stable.ready.values()) and canary.selects and canary.serves(canary.selects):
        builder.add_action(SelectRevision("stable", canary.selects))
        return builder.build("Deleting", "stable has no ready pod: its Service is led to the canary first")
    builder.add_action(SetWeight(0))
    builder.requeue_after(0)
    return builder.build("Deleting", "all traffic moves to stable first")


def _canary(builder: DecisionBuilder) -> str | None:
    """The revision to remove; None when there is none, or when it is what serves."""
    status, observation = builder.status, builder.observation
    revision = status.canary.revision if status.canary else observation.canary.selects
    stays = {observation.stable.selects, *([status.stable.revision] if status.stable else [])}
    return revision if revision in observation.workloads and revision not in stays else None
