"""Stage Idle: stable serves all traffic. Repair drift, and start a release when the spec names another revision."""

from __future__ import annotations

from iris_operator.api.status import Stage, StepStatus
from iris_operator.rollout.builder import POLL_SECONDS, DecisionBuilder, enter_stage, steps_of
from iris_operator.rollout.comparison import control_of, delete_control_groups
from iris_operator.rollout.decision import Decision, SetWeight
from iris_operator.rollout.drift_repair import ensure_service, ensure_stable_service, ensure_workload
from iris_operator.rollout.scaling import full_capacity
from iris_operator.rollout.watch import watch


def idle(builder: DecisionBuilder) -> Decision:
    """Repair stable first: a release starts from a healthy state only."""
    stable, target = builder.status.stable, builder.observation.target
    assert stable is not None, "stage Idle is entered with a stable revision"  # noqa: S101 - an invariant of the state machine
    _repair_stable(builder)
    failed = watch(builder)
    if failed:
        return failed
    leftovers = delete_control_groups(builder)
    if target.revision == stable.revision:
        if builder.status.rejected is not None:
            builder.update_status(rejected=None, analysis=None)
        return builder.build("Serving", f"version {stable.version} serves all traffic")
    rejected = builder.status.rejected
    if rejected and rejected.revision == target.revision and not _retry_requested(builder):
        return builder.build(rejected.reason, rejected.message)
    if builder.spec.paused:
        return builder.build("Paused", f"version {target.version} waits: spec.paused is true")
    if leftovers:
        builder.requeue_after(POLL_SECONDS)
        return builder.build("CleaningUp", "the control group of an earlier rollout is removed first")
    return _start_release(builder)


def _repair_stable(builder: DecisionBuilder) -> None:
    stable = builder.status.stable
    assert stable is not None, "stage Idle is entered with a stable revision"  # noqa: S101 - as above
    pods = full_capacity(builder)
    ensure_workload(builder, stable, "stable", pods)
    ensure_stable_service(builder, stable.revision)
    canary = builder.observation.canary
    if canary.selects and not canary.intact:
        ensure_service(builder, "canary", canary.selects, with_control=canary.with_control)
    route = builder.observation.route
    if not route.exists or not route.intact or route.weight != 0:
        builder.add_event("RouteRepaired", "the route did not match the release; all traffic goes to stable")
        builder.add_action(SetWeight(0))
        builder.requeue_after(0)
    observed = builder.observation.workloads.get(stable.revision)
    if observed is None or observed.ready < pods:
        builder.requeue_after(POLL_SECONDS)


def _retry_requested(builder: DecisionBuilder) -> bool:
    return builder.observation.retry is not None and builder.observation.retry != builder.status.rollout.observed_retry


def _start_release(builder: DecisionBuilder) -> Decision:
    target = builder.observation.target
    builder.update_status(
        canary=target,
        control=control_of(builder, builder.status.stable, target),
        rejected=None,
        analysis=None,
        step=StepStatus(index=0, count=len(steps_of(builder.spec))),
    )
    enter_stage(builder, Stage.PROGRESSING)
    builder.update_rollout(started_at=builder.now, waiting_since=builder.now, observed_retry=builder.observation.retry)
    stable = builder.status.stable
    before = f" beside {stable.version}" if stable else ""
    builder.add_event("ReleaseStarted", f"version {target.version} (revision {target.revision}) starts{before}")
    return builder.build("ReleaseStarted", f"version {target.version} starts")
