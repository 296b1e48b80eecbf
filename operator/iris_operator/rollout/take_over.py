"""No pod of stable is ready anywhere and the canary's are: the canary gets all traffic at once, whatever its step.

It is judged on, and rolled back as soon as stable is there again and it fails. While stable is away for less than
`rollout.readyTimeout` nothing is promoted: when stable returns it has all traffic again, and the steps begin anew.
"""

from __future__ import annotations

from iris_operator.analysis.verdict import Verdict
from iris_operator.api.durations import format_duration
from iris_operator.api.status import Outcome, RevisionRef, Shortcut, Stage, StepStatus
from iris_operator.rollout.builder import (
    ALL_TRAFFIC,
    POLL_SECONDS,
    DecisionBuilder,
    add_to_history,
    enter_stage,
    next_attempt,
    promoted_lately,
    seconds_of,
    seconds_since,
    steps_of,
)
from iris_operator.rollout.comparison import control_of
from iris_operator.rollout.decision import Decision, SelectRevision, SetWeight
from iris_operator.rollout.drift_repair import ensure_workload
from iris_operator.rollout.retreat import retreat
from iris_operator.rollout.rolling_back import may_withdraw, rolling_back, stable_ready_pods
from iris_operator.rollout.scaling import full_capacity

REASON = "StableUnavailable"


def take_over(builder: DecisionBuilder, canary: RevisionRef) -> Decision | None:
    """The decision when stable goes away or returns; None in between, and as long as stable has a ready pod."""
    down_since = builder.status.rollout.stable_down_since
    if stable_ready_pods(builder):
        return _give_back(builder, canary) if down_since else None
    if not builder.observation.canary.serves(canary.revision):
        return None
    if down_since:
        builder.update_rollout(hold_since=builder.now)  # nobody waits for evidence: there is nothing to compare with
        builder.requeue_after(POLL_SECONDS)
        return None
    return _take_all_traffic(builder, canary)


def replace_or_roll_back(builder: DecisionBuilder) -> Decision:
    """Stage RollingBack. A failed canary that has to keep the traffic is replaced by what the spec asks for since."""
    return _replace(builder) or rolling_back(builder)


def _replace(builder: DecisionBuilder) -> Decision | None:
    canary, stable, target = builder.status.canary, builder.status.stable, builder.observation.target
    if canary is None or stable is None or target.revision in (canary.revision, stable.revision):
        return None
    if may_withdraw(builder):
        return None
    rollout = builder.status.rollout
    builder.requeue_after(POLL_SECONDS)
    ensure_workload(builder, stable, "stable", full_capacity(builder))
    ensure_workload(builder, target, "canary", full_capacity(builder))
    observed = builder.observation.workloads.get(target.revision)
    if observed is None or not observed.ready or observed.crash_message:
        return builder.build(rollout.reason or "RollingBack", rollout.message)
    outcome = rollout.outcome or Outcome.ROLLED_BACK
    add_to_history(builder, canary, outcome, f"{rollout.reason}: {rollout.message}")
    count = len(steps_of(builder.spec))
    builder.update_status(canary=target, control=None, analysis=None, step=StepStatus(index=count, count=count))
    shortcut = Shortcut.ROLLBACK_WINDOW if promoted_lately(builder, target) else Shortcut.STABLE_DOWN
    builder.update_rollout(approval_asked="", approved="", pod_losses=0, retreats=0, shortcut=shortcut)
    enter_stage(builder, Stage.PROGRESSING)
    builder.update_rollout(
        started_at=builder.now,
        attempt=next_attempt(builder, target),
        stable_down_since=builder.now,
        earned_pods=1,
        hold_since=builder.now,
    )
    builder.add_action(SelectRevision("canary", target.revision))
    message = f"no pod of stable version {stable.version} is ready"
    message += f"; version {target.version} gets all traffic from version {canary.version}, which failed"
    builder.add_event(REASON, message, warning=True)
    return builder.build(REASON, message)


def await_shortcut(builder: DecisionBuilder) -> Decision | None:
    """What promotion still needs when steps were left out. None when it may begin.

    A version that was promoted before needs nothing more. Otherwise it is judged with all of the traffic, and a check
    that fails has rolled it back before.
    """
    rollout, analysis = builder.status.rollout, builder.status.analysis
    if rollout.shortcut is Shortcut.ROLLBACK_WINDOW:
        return None
    started, judged_at = rollout.step_started_at, analysis.judged_at if analysis else None
    if analysis is None or judged_at is None or started is None or judged_at <= started:
        return builder.build("Holding", "the canary has all traffic and waits for its first judgement with it")
    if rollout.shortcut is Shortcut.PROMOTE:
        return None
    left = seconds_of(builder.spec.rollout.ready_timeout) - seconds_since(rollout.stable_down_since, builder.now)
    if left > 0:
        builder.requeue_after(left)
        return builder.build(REASON, f"no pod of stable is ready; promotion at the earliest in {format_duration(left)}")
    if analysis.verdict in (Verdict.PASS.value, Verdict.HOLD.value):
        return None
    return builder.build(REASON, f"no pod of stable is ready; promotion waits for metrics, now {analysis.verdict}")


def _take_all_traffic(builder: DecisionBuilder, canary: RevisionRef) -> Decision:
    count = len(steps_of(builder.spec))
    shortcut = builder.status.rollout.shortcut
    builder.update_status(step=StepStatus(index=count, count=count), control=None)
    builder.update_rollout(
        stable_down_since=builder.now,
        shortcut=Shortcut.STABLE_DOWN if shortcut is Shortcut.NONE else shortcut,
        step_started_at=None,
        confirmed_weight=0,
        earned_pods=1,
        route_weight=None,
        hold_since=builder.now,
        waiting_since=None,
    )
    builder.actions.clear()
    if builder.observation.route.weight != ALL_TRAFFIC:
        builder.add_action(SetWeight(ALL_TRAFFIC))
    builder.requeue_after(0)
    stable = builder.status.stable
    message = f"no pod of stable version {stable.version if stable else '?'} is ready"
    message += f"; version {canary.version} gets all traffic until one is"
    builder.add_event(REASON, message, warning=True)
    return builder.build(REASON, message)


def _give_back(builder: DecisionBuilder, canary: RevisionRef) -> Decision | None:
    shortcut = builder.status.rollout.shortcut
    if shortcut is not Shortcut.STABLE_DOWN:
        # It goes to the canary by itself, for a reason that stands: there is nothing to give back.
        builder.update_rollout(stable_down_since=None)
        return None
    builder.update_status(control=control_of(builder, builder.status.stable, canary))
    retreat(builder, shortcut=Shortcut.NONE, stable_down_since=None)
    message = f"stable has ready pods again and gets all traffic; version {canary.version} begins with its first step"
    builder.add_event("StableRecovered", message)
    return builder.build("StableRecovered", message)
