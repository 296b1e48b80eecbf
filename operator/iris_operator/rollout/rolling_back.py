"""Stage RollingBack: traffic is withdrawn from the canary before anything else happens to it."""

from __future__ import annotations

from iris_operator.analysis.judge import Judgement
from iris_operator.analysis.registry import rollback_cause
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.status import Outcome, Rejected, RevisionRef, Stage, StepStatus
from iris_operator.rollout.builder import (
    DRAIN_SECONDS,
    POLL_SECONDS,
    DecisionBuilder,
    add_to_history,
    enter_stage,
    seconds_since,
)
from iris_operator.rollout.comparison import delete_control_groups
from iris_operator.rollout.decision import ApplyWorkload, Decision, SetWeight
from iris_operator.rollout.drift_repair import ensure_service, ensure_stable_service, ensure_workload, repair_route
from iris_operator.rollout.scaling import full_capacity

# Reasons of a rollback that no check has found.
_FAILURES_OF_PODS = {"Crash", "NotReady", "ReadyTimeout"}


def begin_rollback(builder: DecisionBuilder, outcome: Outcome, reason: str, message: str) -> Decision:
    """Enter the stage, and withdraw the canary's traffic in the same reconcile."""
    builder.actions.clear()
    enter_stage(builder, Stage.ROLLING_BACK)
    builder.update_rollout(outcome=outcome)
    if reason in _FAILURES_OF_PODS and builder.status.analysis:
        # The table of kubectl get must not show the hopeful verdict of the checks beside a rollback for a crash.
        failed = builder.status.analysis.model_copy(update={"verdict": Verdict.FAIL.value})
        builder.update_status(analysis=failed)
    builder.add_event(
        "RollingBack" if outcome is Outcome.ROLLED_BACK else reason, message, warning=outcome is Outcome.ROLLED_BACK
    )
    if may_withdraw(builder):
        withdraw_traffic(builder)
    return builder.build(reason, message)


def explain_failure(builder: DecisionBuilder, judgement: Judgement) -> tuple[str, str]:
    """The reason of a rollback for a judgement that is a Fail, as one word, and the failed check's explanation."""
    failed = next(result for result in judgement.results if result.verdict is Verdict.FAIL)
    is_custom = failed.name in (check.name for check in builder.spec.analysis.checks.custom)
    return rollback_cause(failed.name), f"{failed.name}: {failed.reason}" if is_custom else failed.reason


def rolling_back(builder: DecisionBuilder) -> Decision:
    """Weight 0, verified, drained; then the canary's pods are scaled down."""
    canary, rollout = builder.status.canary, builder.status.rollout
    assert canary is not None, "stage RollingBack is entered with a canary"  # noqa: S101 - an invariant of the state machine
    if builder.status.stable:
        ensure_workload(builder, builder.status.stable, "stable", full_capacity(builder))
    builder.requeue_after(POLL_SECONDS)
    if not _traffic_withdrawn(builder):
        if may_withdraw(builder):
            withdraw_traffic(builder)
            builder.requeue_after(0)
        else:
            _await_stable(builder)
        return _still_rolling_back(builder)
    _repair_stable_service(builder)
    repair_route(builder)
    if rollout.settled_at is None:
        builder.update_rollout(settled_at=builder.now)
        builder.requeue_after(DRAIN_SECONDS)
        return _still_rolling_back(builder)
    left = DRAIN_SECONDS - seconds_since(rollout.settled_at, builder.now)
    if left > 0:
        builder.requeue_after(left)
        return _still_rolling_back(builder)
    return _finish(builder, canary)


def _still_rolling_back(builder: DecisionBuilder) -> Decision:
    """Not done yet; the reason stays the one that started it."""
    rollout = builder.status.rollout
    return builder.build(rollout.reason or "RollingBack", rollout.message)


def _finish(builder: DecisionBuilder, canary: RevisionRef) -> Decision:
    rollout = builder.status.rollout
    outcome = rollout.outcome or Outcome.ROLLED_BACK
    keeps_pods = outcome is Outcome.ROLLED_BACK and _keeps_pods(builder)
    observed = builder.observation.workloads.get(canary.revision)
    leftovers = delete_control_groups(builder)
    if observed and observed.inputs_known and not keeps_pods and (observed.role != "retired" or observed.replicas > 0):
        # The status follows when this is observed: an operator killed in between continues the rollback.
        builder.add_action(ApplyWorkload(canary, "retired", 0, builder.now))
        return _still_rolling_back(builder)
    if leftovers:
        return _still_rolling_back(builder)
    add_to_history(builder, canary, outcome, f"{rollout.reason}: {rollout.message}")
    if outcome is Outcome.ROLLED_BACK:
        rejected = Rejected(
            revision=canary.revision,
            version=canary.version,
            image=canary.image,
            reason=rollout.reason,
            message=rollout.message,
            at=builder.now,
            keeps_pods=keeps_pods,
        )
        builder.update_status(rejected=rejected)
        builder.add_event("RolledBack", f"{rollout.reason}: {rollout.message}", warning=True)
    builder.update_status(canary=None, control=None, step=StepStatus(index=0, count=builder.status.step.count))
    enter_stage(builder, Stage.IDLE)
    return builder.build(rollout.reason or "RolledBack", rollout.message)


def _keeps_pods(builder: DecisionBuilder) -> bool:
    return builder.spec.rollout.on_failure == "Pause" or builder.status.rollout.reason == "HoldTimeout"


def _traffic_withdrawn(builder: DecisionBuilder) -> bool:
    stable = builder.status.stable
    return builder.observation.route.weight == 0 and (
        stable is None or builder.observation.stable.selects in (None, stable.revision)
    )


def may_withdraw(builder: DecisionBuilder) -> bool:
    """Not while stable has no ready pod and the canary still serves."""
    return stable_ready_pods(builder) > 0 or _ready_pods(builder, builder.status.canary) == 0


def stable_ready_pods(builder: DecisionBuilder) -> int:
    """Ready pods of stable, by its endpoints or its Deployment, whichever says more."""
    return _ready_pods(builder, builder.status.stable)


def _ready_pods(builder: DecisionBuilder, ref: RevisionRef | None) -> int:
    """Ready pods of a revision, whichever Service selects it: after the switch of a promotion stable's is another's."""
    if ref is None:
        return 0
    observed = builder.observation.workloads.get(ref.revision)
    backends = (builder.observation.stable, builder.observation.canary)
    endpoints = [backend.ready.get(ref.revision, 0) for backend in backends]
    return max(*endpoints, observed.ready if observed else 0)


def _repair_stable_service(builder: DecisionBuilder) -> None:
    if builder.status.stable:
        ensure_service(builder, "stable", builder.status.stable.revision)


def _await_stable(builder: DecisionBuilder) -> None:
    """The canary keeps the traffic until stable has a ready pod, also that of the stable Service if it leads there."""
    if builder.status.stable:
        ensure_stable_service(builder, builder.status.stable.revision)
    if builder.status.rollout.stable_down_since is None:
        builder.update_rollout(stable_down_since=builder.now)
        builder.add_event(
            "StableUnavailable", "stable has no ready pod; the canary keeps the traffic until it has", warning=True
        )


def withdraw_traffic(builder: DecisionBuilder) -> None:
    """Let the stable Service select stable again, and set weight 0."""
    # A promotion had switched the selector, or somebody has: weight 0 would lead to the canary, or to nobody.
    _repair_stable_service(builder)
    if builder.observation.route.weight != 0:
        builder.add_action(SetWeight(0))
        builder.requeue_after(0)
