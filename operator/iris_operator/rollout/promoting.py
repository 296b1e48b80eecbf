"""Stage Promoting: stable's Service switches to the canary's pods while the canary route has all traffic.

No pod restarts and no model is loaded again; the old revision keeps running for `scaleDownDelay`.
"""

from __future__ import annotations

from iris_operator.api.status import Outcome, RevisionRef, Shortcut, Stage, StepStatus
from iris_operator.rollout.builder import (
    ALL_TRAFFIC,
    DRAIN_SECONDS,
    POLL_SECONDS,
    DecisionBuilder,
    add_to_history,
    enter_stage,
    seconds_since,
)
from iris_operator.rollout.comparison import delete_control_groups
from iris_operator.rollout.decision import ApplyWorkload, Decision, SetWeight
from iris_operator.rollout.drift_repair import ensure_service, ensure_workload
from iris_operator.rollout.observation import Workload
from iris_operator.rollout.pod_loss import lose_pods
from iris_operator.rollout.rolling_back import begin_rollback, may_withdraw
from iris_operator.rollout.scaling import full_capacity
from iris_operator.rollout.watch import watch_after_promotion

_REASONS = {
    Shortcut.NONE: "all checks passed",
    Shortcut.PROMOTE: "a person asked for it",
    Shortcut.ROLLBACK_WINDOW: "it was promoted before, within rollout.rollbackWindow",
    Shortcut.STABLE_DOWN: "no pod of the version before was ready for rollout.readyTimeout, and no check failed",
}


def promoting(builder: DecisionBuilder) -> Decision:
    """Switch the selector, verify it, wait for the router, reset the weight, swap the roles."""
    canary = builder.status.canary
    assert canary is not None, "stage Promoting is entered with a canary"  # noqa: S101 - an invariant of the state machine
    builder.requeue_after(POLL_SECONDS)
    observed = builder.observation.workloads.get(canary.revision)
    if observed is None or observed.crash_message or observed.ready == 0:
        return _lose_canary(builder, canary, observed)
    switched = builder.observation.stable.selects == canary.revision
    if not switched and (waiting := _await_all_traffic(builder, canary)):
        return waiting
    if not ensure_service(builder, "stable", canary.revision):
        builder.update_rollout(settled_at=None)
        return builder.build("Promoting", f"the stable Service now selects revision {canary.revision}")
    if not builder.observation.stable.serves_only(canary.revision):
        return builder.build("Promoting", "waiting for the stable Service's endpoints to change")
    if builder.observation.route.weight != 0:
        return _reset_weight(builder)
    return _swap_roles(builder, canary)


def _lose_canary(builder: DecisionBuilder, canary: RevisionRef, observed: Workload | None) -> Decision:
    """A crash is the version's fault; without one its pods were lost, and the rollout begins again."""
    why = observed.crash_message or observed.waiting_reason if observed else "its Deployment is gone"
    message = f"version {canary.version} during promotion: {why}"
    if (observed is None or not observed.crash_message) and may_withdraw(builder):
        return lose_pods(builder, message)
    return begin_rollback(builder, Outcome.ROLLED_BACK, "Crash", message)


def _await_all_traffic(builder: DecisionBuilder, canary: RevisionRef) -> Decision | None:
    """Before the switch: all requests go to the canary, and none to its control group. None when it is so."""
    ensure_workload(builder, canary, "canary", full_capacity(builder))
    if builder.observation.route.weight != ALL_TRAFFIC or not builder.observation.route.intact:
        builder.add_action(SetWeight(ALL_TRAFFIC))
        builder.requeue_after(0)
        return builder.build("Promoting", "weight 100 again before the switch")
    leftovers, backend = delete_control_groups(builder), builder.observation.canary
    with_control = builder.status.control is not None
    ensure_service(builder, "canary", canary.revision, with_control=with_control)
    if with_control and (leftovers or not backend.serves_only(canary.revision)):
        return builder.build("Promoting", "the control group is removed; then the canary has all traffic")
    return None


def _reset_weight(builder: DecisionBuilder) -> Decision:
    settled = builder.status.rollout.settled_at
    if settled is None:
        builder.update_rollout(settled_at=builder.now)
        return builder.build("Promoting", "waiting for the router to see the new endpoints")
    left = DRAIN_SECONDS - seconds_since(settled, builder.now)
    if left > 0:
        builder.requeue_after(left)
        return builder.build("Promoting", "waiting for the router to see the new endpoints")
    builder.add_action(SetWeight(0))
    builder.requeue_after(0)
    return builder.build("Promoting", "both Services lead to the new version; weight back to 0")


def _swap_roles(builder: DecisionBuilder, canary: RevisionRef) -> Decision:
    """The labels first, the status when they are observed: an operator killed in between continues the promotion."""
    before = builder.status.stable
    swapped = ensure_workload(builder, canary, "stable", full_capacity(builder))
    old = builder.observation.workloads.get(before.revision) if before else None
    if old and old.role != "retired" and old.inputs_known:
        builder.add_action(ApplyWorkload(old.ref, "retired", old.replicas, builder.now))
        swapped = False
    if not swapped:
        return builder.build("Promoting", "swapping the roles of the two revisions")
    went_back = builder.status.rollout.shortcut is Shortcut.ROLLBACK_WINDOW
    if went_back and before:
        reason = f"Superseded: version {canary.version}, which was promoted before, was applied again"
        add_to_history(builder, before, Outcome.ROLLED_BACK, reason)
    add_to_history(builder, canary, Outcome.PROMOTED, _REASONS[builder.status.rollout.shortcut])
    count = builder.status.step.count
    builder.update_status(
        stable=canary,
        canary=None,
        control=None,
        # Nobody goes back to the version that was just left.
        watch=None if went_back else watch_after_promotion(builder, before),
        rejected=None,
        step=StepStatus(index=count, count=count),
    )
    enter_stage(builder, Stage.IDLE)
    after = f", after {before.version}" if before else ""
    builder.add_event("Promoted", f"version {canary.version} serves all traffic{after}")
    return builder.build("Promoted", f"version {canary.version} serves all traffic")
