"""Stage Idle: stable serves all traffic. Repair drift, and start a release when the spec names another revision."""

from __future__ import annotations

import re

from iris_operator.api import names
from iris_operator.api.status import RevisionRef, Shortcut, Stage, StepStatus
from iris_operator.rollout.annotations import who
from iris_operator.rollout.builder import (
    POLL_SECONDS,
    DecisionBuilder,
    enter_stage,
    next_attempt,
    promoted_lately,
    steps_of,
)
from iris_operator.rollout.comparison import control_of, delete_control_groups
from iris_operator.rollout.decision import Decision, SetWeight
from iris_operator.rollout.drift_repair import ensure_service, ensure_stable_service, ensure_workload
from iris_operator.rollout.hold import REASON as HELD
from iris_operator.rollout.hold import held
from iris_operator.rollout.scaling import full_capacity
from iris_operator.rollout.watch import watch

# A retry that names a revision; any other value is for the one that the spec asks for.
_REVISION = re.compile(r"(?P<revision>[0-9a-f]{10})(/[0-9]+)?")


def idle(builder: DecisionBuilder) -> Decision:
    """Repair stable first: a release starts from a healthy state only."""
    stable, target = builder.status.stable, builder.observation.target
    assert stable is not None, "stage Idle is entered with a stable revision"  # noqa: S101 - an invariant of the state machine
    _repair_stable(builder)
    message = held(builder)
    decided = builder.build(HELD, message) if message else watch(builder)
    if decided:
        return decided
    leftovers = delete_control_groups(builder)
    if target.revision == stable.revision:
        if builder.status.rejected is not None:
            builder.update_status(rejected=None, analysis=None)
        return builder.build("Serving", f"version {stable.version} serves all traffic")
    rejected = builder.status.rejected
    if rejected and rejected.revision == target.revision and not _retry_requested(builder):
        return builder.build(rejected.reason, rejected.message)
    return _wait_to_start(builder, target, leftovers=leftovers) or _start_release(builder)


def _wait_to_start(builder: DecisionBuilder, target: RevisionRef, *, leftovers: bool) -> Decision | None:
    if builder.spec.paused:
        return builder.build("Paused", f"version {target.version} waits: spec.paused is true")
    if leftovers:
        builder.requeue_after(POLL_SECONDS)
        return builder.build("CleaningUp", "the control group of an earlier rollout is removed first")
    return None


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
    """Has the annotation a new value, that does not name another revision?"""
    annotation = builder.observation.annotations.get(names.ANNOTATION_RETRY)
    if annotation is None or annotation.value == builder.status.rollout.observed_retry:
        return False
    target = builder.observation.target
    named = _REVISION.fullmatch(annotation.value.strip())
    if named and named["revision"] != target.revision:
        builder.update_rollout(observed_retry=annotation.value)
        message = f"{names.ANNOTATION_RETRY}: {annotation.value!r}{who(annotation)} does nothing"
        builder.add_event("AnnotationIgnored", f"{message}: the spec asks for revision {target.revision}", warning=True)
        return False
    return True


def _start_release(builder: DecisionBuilder) -> Decision:
    target = builder.observation.target
    shortcut = Shortcut.ROLLBACK_WINDOW if promoted_lately(builder, target) else Shortcut.NONE
    # A version that goes back is not compared with the one that it replaces.
    control = None if shortcut else control_of(builder, builder.status.stable, target)
    retry = builder.observation.annotations.get(names.ANNOTATION_RETRY)
    rejected = builder.status.rejected
    if retry and rejected and rejected.revision == target.revision:
        builder.add_event("RetryRequested", f"version {target.version} is tried again; asked for{who(retry)}")
    builder.update_status(
        canary=target,
        control=control,
        rejected=None,
        analysis=None,
        step=StepStatus(index=0, count=len(steps_of(builder.spec))),
    )
    enter_stage(builder, Stage.PROGRESSING)
    builder.update_rollout(
        started_at=builder.now,
        waiting_since=builder.now,
        observed_retry=retry.value if retry else None,
        attempt=next_attempt(builder, target),
        shortcut=shortcut,
        approval_asked="",
        approved="",
        pod_losses=0,
        retreats=0,
    )
    stable = builder.status.stable
    before = f" beside {stable.version}" if stable else ""
    again = "; it was promoted before, and gets all traffic as soon as its pods are ready" if shortcut else ""
    builder.add_event("ReleaseStarted", f"version {target.version} (revision {target.revision}) starts{before}{again}")
    return builder.build("ReleaseStarted", f"version {target.version} starts")
