"""Stage Progressing: the canary gets a share of the traffic, and the next step, or is rolled back."""

from __future__ import annotations

from iris_operator.analysis.verdict import Verdict
from iris_operator.api import names
from iris_operator.api.durations import format_duration
from iris_operator.api.spec import Step
from iris_operator.api.status import Outcome, RevisionRef, Shortcut, Stage, StepStatus
from iris_operator.rollout.annotations import approval_of, attempt_suffix
from iris_operator.rollout.builder import (
    POLL_SECONDS,
    DecisionBuilder,
    enter_stage,
    load_percent,
    seconds_of,
    seconds_since,
    steps_of,
)
from iris_operator.rollout.comparison import (
    control_workload,
    ensure_control_group,
    following_step,
    serving_pods,
    step_pods,
    wanted_pods,
    weight_for_share,
)
from iris_operator.rollout.control_group import required_pods
from iris_operator.rollout.decision import Decision, SetWeight
from iris_operator.rollout.drift_repair import ensure_service, ensure_stable_service, ensure_workload
from iris_operator.rollout.edited_steps import current_step
from iris_operator.rollout.estimate import slow_rollout_warning
from iris_operator.rollout.evidence import await_evidence, step_passed
from iris_operator.rollout.incident import await_recovery, handle_shared_incident
from iris_operator.rollout.pod_loss import handle_lost_pods
from iris_operator.rollout.rolling_back import begin_rollback, explain_failure
from iris_operator.rollout.scaling import full_capacity
from iris_operator.rollout.shadow import shadow_action, start_dwell_at_first_mirrored_request
from iris_operator.rollout.shifting import accept_route, await_endpoints, confirm_step, set_route
from iris_operator.rollout.take_over import await_shortcut, take_over
from iris_operator.rollout.timing import judgement_interval, seconds_to_tick


def progressing(builder: DecisionBuilder) -> Decision:
    """Reasons to withdraw the canary come before reasons to continue."""
    canary = builder.status.canary
    assert canary is not None, "stage Progressing is entered with a canary"  # noqa: S101 - an invariant of the state machine
    baseline_is_first = builder.observation.status.analysis is None and builder.observation.baseline is not None
    if baseline_is_first and (warning := slow_rollout_warning(builder.observation)):
        builder.add_event("SlowRollout", warning, warning=True)
    if baseline_is_first and builder.observation.baseline and builder.observation.baseline.resolution:
        builder.add_event("Comparison", builder.observation.baseline.resolution)
    return (
        _superseded(builder, canary)
        or _failed(builder, canary)
        or take_over(builder, canary)
        or handle_lost_pods(builder, canary)
        or handle_shared_incident(builder)
        or _advance(builder, canary)
    )


def _superseded(builder: DecisionBuilder, canary: RevisionRef) -> Decision | None:
    target, stable = builder.observation.target, builder.status.stable
    if target.revision == canary.revision:
        return None
    if stable and target.revision == stable.revision:
        message = f"the spec asks for stable version {stable.version} again; version {canary.version} is withdrawn"
    else:
        message = f"version {target.version} replaces version {canary.version} before its promotion"
    return begin_rollback(builder, Outcome.SUPERSEDED, "Superseded", message)


def _failed(builder: DecisionBuilder, canary: RevisionRef) -> Decision | None:
    """A crash of the canary's pods, or a failed check."""
    observed = builder.observation.workloads.get(canary.revision)
    if observed and observed.crash_message:
        return begin_rollback(
            builder, Outcome.ROLLED_BACK, "Crash", f"version {canary.version}: {observed.crash_message}"
        )
    judgement = builder.observation.judgement
    if judgement and judgement.verdict is Verdict.FAIL:
        cause, explanation = explain_failure(builder, judgement)
        return begin_rollback(builder, Outcome.ROLLED_BACK, cause, f"version {canary.version}: {explanation}")
    return None


def _advance(builder: DecisionBuilder, canary: RevisionRef) -> Decision:
    steps = steps_of(builder.spec)
    index = current_step(builder, steps)
    builder.update_status(step=StepStatus(index=index, count=len(steps)))
    if index and steps[index - 1].shadow:
        start_dwell_at_first_mirrored_request(builder)
    share = steps[index - 1].weight if index else 0
    if builder.status.rollout.step_started_at is not None:
        # Steps that are edited during the rollout never raise the weight above the confirmed one.
        share = min(share, builder.status.rollout.confirmed_weight)
    following = following_step(builder, steps, index)
    builder.requeue_after(seconds_to_tick(builder.now, judgement_interval(seconds_of(builder.spec.rollout.interval))))
    wanted = wanted_pods(builder, steps, index)
    weight = weight_for_share(builder, share, wanted)
    route = builder.observation.route
    if route.weight > weight:
        # Before pods are added or removed: with them the canary would have a larger share.
        return set_route(builder, weight)
    stable = builder.status.stable
    if stable:
        ensure_workload(builder, stable, "stable", full_capacity(builder))
        ensure_stable_service(builder, stable.revision)
    observed = builder.observation.workloads.get(canary.revision)
    repaired = not ensure_workload(builder, canary, "canary", wanted.canary) and observed and not observed.intact
    if not ensure_control_group(builder, wanted.control) or repaired:
        _restart_step(builder)
    # Mirrored requests are sent to each arm by itself: this Service leads to the canary alone.
    with_control = builder.status.control is not None and steps[max(index - 1, 0)].weight > 0
    if not ensure_service(builder, "canary", canary.revision, with_control=with_control):
        builder.requeue_after(POLL_SECONDS)
        return builder.build("CanaryStarting", f"version {canary.version} gets its own Service")
    if route.weight != weight or not route.intact:
        return (await_endpoints(builder, share) if weight > route.weight else None) or set_route(builder, weight)
    accept_route(builder)
    if index and builder.status.rollout.step_started_at is None:
        return confirm_step(builder, canary, steps[index - 1], share)
    if following is None:
        return _finish_last_step(builder, canary, index)
    return _start_next_step(builder, canary, index, following)


def _restart_step(builder: DecisionBuilder) -> None:
    """After a manual edit what was measured lets nothing pass: the step begins anew.

    What speaks against the canary is kept, and the time that it has waited for a decision: edits must not delay either.
    """
    if builder.status.rollout.step_started_at is not None:
        builder.update_rollout(step_started_at=builder.now)


def _finish_last_step(builder: DecisionBuilder, canary: RevisionRef, index: int) -> Decision:
    """The canary has all but what the control group holds back. Like any step this needs evidence of its own."""
    if builder.spec.paused:
        return builder.build("Paused", "spec.paused is true; promotion waits")
    _end_pause(builder)
    left_out = builder.status.rollout.shortcut is not Shortcut.NONE
    waiting = await_shortcut(builder) if left_out else await_evidence(builder, canary, index, None)
    if waiting:
        return waiting
    enter_stage(builder, Stage.PROMOTING)
    return builder.build("Promoting", "the canary has passed every step")


def _end_pause(builder: DecisionBuilder) -> None:
    """The time in which a person paused the release is no hold."""
    if builder.status.rollout.reason == "Paused":
        builder.update_rollout(hold_since=builder.now)


def _start_next_step(builder: DecisionBuilder, canary: RevisionRef, index: int, following: Step) -> Decision:
    """The next step needs ready pods, the dwell time, a current Pass once there is traffic, and perhaps an approval."""
    if builder.spec.paused:
        return builder.build("Paused", f"spec.paused is true; holding at step {index}")
    _end_pause(builder)
    left_out = builder.status.rollout.shortcut is not Shortcut.NONE
    waiting = _await_capacity(builder, canary, following)
    if not left_out:
        waiting = (
            waiting
            or _await_baseline(builder, index)
            or await_recovery(builder)
            or await_evidence(builder, canary, index, following)
        )
        approval = approval_of(canary, index + 1, following)
        unapproved = following.approval and builder.status.rollout.approved != approval
        if unapproved and (waiting is None or step_passed(builder, index, following)):
            return _ask_for_approval(builder, index + 1, following, approval)
    if waiting:
        return waiting
    number = builder.status.step.count if left_out else index + 1
    builder.update_status(step=StepStatus(index=number, count=builder.status.step.count))
    needed = required_pods(full_capacity(builder), load_percent(following))
    builder.update_rollout(
        step_started_at=None, hold_since=None, waiting_since=None, earned_pods=needed, route_weight=None
    )
    if following.shadow:
        builder.add_action(shadow_action(builder, canary, following.shadow))
    elif builder.observation.canary.with_control == (builder.status.control is not None):
        # Otherwise the canary Service leads to both arms first: in the shadow step it led to the canary alone.
        wanted = wanted_pods(builder, steps_of(builder.spec), number)
        builder.add_action(SetWeight(weight_for_share(builder, following.weight, wanted)))
    builder.requeue_after(0)
    return builder.build("StepStarted", f"step {number}: {_describe_step(following)}")


def _ask_for_approval(builder: DecisionBuilder, number: int, step: Step, approval: str) -> Decision:
    builder.update_rollout(hold_since=builder.now)
    asked = builder.status.rollout.approval_asked
    if not asked.startswith(approval.partition("@")[0] + "@"):
        builder.update_rollout(approval_asked=approval)
    edited = (
        ", which was edited since it was asked for first," if builder.status.rollout.approval_asked != approval else ""
    )
    return builder.build(
        "AwaitingApproval",
        f"step {number} ({_describe_step(step)}){edited} waits for a person's approval: the annotation "
        f"{names.ANNOTATION_APPROVED}={approval}{attempt_suffix(builder)}",
    )


def _describe_step(step: Step) -> str:
    return f"shadow {step.shadow}" if step.shadow else f"weight {step.weight}"


def _await_baseline(builder: DecisionBuilder, index: int) -> Decision | None:
    """Before the first step: what stable is like has been measured, or could not be."""
    if index or builder.status.analysis is not None:
        return None
    return builder.build("MeasuringBaseline", "stable is measured before the canary gets the first request")


def _await_capacity(builder: DecisionBuilder, canary: RevisionRef, following: Step) -> Decision | None:
    """Both arms are ready for the next step, or the release ends after its timeout."""
    needed = step_pods(full_capacity(builder), following)
    observed, control = builder.observation.workloads.get(canary.revision), control_workload(builder)
    serving = serving_pods(builder)
    canary_ready = observed is not None and observed.ready >= needed.canary and serving.canary >= needed.canary
    control_serving = serving.control if builder.observation.canary.with_control else needed.control
    control_ready = builder.status.control is None or (
        control is not None and control.ready >= needed.control and control_serving >= needed.control
    )
    if canary_ready and control_ready:
        builder.update_rollout(waiting_since=None)
        return None
    if builder.status.rollout.waiting_since is None:
        builder.update_rollout(waiting_since=builder.now)
    waited = seconds_since(builder.status.rollout.waiting_since, builder.now)
    reason, arm, pods, found = (
        ("WaitingForControl", "control", needed.control, control)
        if canary_ready
        else ("WaitingForPods", "canary", needed.canary, observed)
    )
    why = (found.waiting_reason or (found.crash_message if canary_ready else "")) if found else ""
    text = f"{found.ready if found else 0} of {pods} {arm} pods ready for {_describe_step(following)}"
    text += f": {why}" if why else ""
    if waited > seconds_of(builder.spec.rollout.ready_timeout):
        message = f"version {canary.version}: {text}; waited {format_duration(waited)}"
        if canary_ready and (stable := builder.status.stable):
            message += (
                f". The control group runs stable version {stable.version}: that version or the nodes are at fault, "
                f"not version {canary.version}"
            )
        return begin_rollback(builder, Outcome.ROLLED_BACK, "ReadyTimeout", message)
    builder.requeue_after(POLL_SECONDS)
    return builder.build(reason, text)
