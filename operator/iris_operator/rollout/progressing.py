"""Stage Progressing: the canary takes a share of the traffic and earns the next one, or loses it."""

from __future__ import annotations

from iris_operator.analysis.registry import REPORTED
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.durations import format_duration
from iris_operator.api.spec import Step
from iris_operator.api.status import Outcome, RevisionRef, Stage, StepStatus
from iris_operator.rollout.decision import Decision, Mirror, SetWeight
from iris_operator.rollout.editing import judged_weight, reached
from iris_operator.rollout.incident import recover, share_incident
from iris_operator.rollout.mirroring import begin_with_the_first_copy, shadowed
from iris_operator.rollout.outlook import slowness
from iris_operator.rollout.plan import (
    POLL_SECONDS,
    Plan,
    capacity,
    enter,
    limit_of,
    load_of,
    seconds_since,
    steps_of,
)
from iris_operator.rollout.rolling_back import begin_rollback
from iris_operator.rollout.scaling import pods_for_all
from iris_operator.rollout.timing import seconds_to_tick, tick_before
from iris_operator.rollout.upkeep import keep_service, keep_workload


def progressing(plan: Plan) -> Decision:
    """Reasons to leave come before reasons to go on."""
    canary = plan.status.canary
    assert canary is not None, "stage Progressing is entered with a canary"  # noqa: S101 - an invariant of the state machine
    if slow := slowness(plan.o) if plan.o.status.analysis is None and plan.o.lesson else "":
        plan.tell("SlowRollout", slow, warning=True)
    return _superseded(plan, canary) or _failed(plan, canary) or share_incident(plan) or _advance(plan, canary)


def _superseded(plan: Plan, canary: RevisionRef) -> Decision | None:
    target, stable = plan.o.target, plan.status.stable
    if target.revision == canary.revision:
        return None
    if stable and target.revision == stable.revision:
        message = f"the spec asks for stable version {stable.version} again; version {canary.version} leaves"
    else:
        message = f"version {target.version} replaces version {canary.version} before its promotion"
    return begin_rollback(plan, Outcome.SUPERSEDED, "Superseded", message)


def _failed(plan: Plan, canary: RevisionRef) -> Decision | None:
    """The canary's pods, then what the checks say of it."""
    seen = plan.o.workloads.get(canary.revision)
    if seen and seen.crash:
        return begin_rollback(plan, Outcome.ROLLED_BACK, "Crash", f"version {canary.version}: {seen.crash}")
    # A weight raised by hand is put back below; it is no reason to find pods missing.
    due = min(plan.o.route.weight, max(1, plan.status.rollout.confirmed_weight))
    needed = capacity(pods_for_all(plan), due)
    if plan.status.rollout.earned_pods:
        # Pods that were asked for since (stable has been scaled up) may still start: they are no loss.
        needed = min(needed, plan.status.rollout.earned_pods)
    if plan.o.route.weight > 0 and (seen is None or seen.ready < needed):
        ready, why = (seen.ready, seen.waiting) if seen else (0, "its Deployment is gone")
        message = f"version {canary.version}: {ready} of {needed} pods ready at weight {plan.o.route.weight}"
        return begin_rollback(plan, Outcome.ROLLED_BACK, "NotReady", f"{message}. {why}".rstrip(". "))
    judgement = plan.o.judgement
    if judgement and judgement.verdict is Verdict.FAIL:
        failed = next(result for result in judgement.results if result.verdict is Verdict.FAIL)
        reason, words = failed.name[0].upper() + failed.name[1:], failed.reason
        if failed.name in (check.name for check in plan.o.spec.analysis.checks.custom):
            # A closed set of causes, however many names users think of.
            reason, words = "Custom", f"{failed.name}: {failed.reason}"
        return begin_rollback(plan, Outcome.ROLLED_BACK, reason, f"version {canary.version}: {words}")
    return None


def _advance(plan: Plan, canary: RevisionRef) -> Decision:
    steps = steps_of(plan.o.spec)
    index = reached(plan, steps)
    plan.update(step=StepStatus(index=index, count=len(steps)))
    if index and steps[index - 1].shadow:
        begin_with_the_first_copy(plan)
    intended = steps[index - 1].weight if index else 0
    if plan.status.rollout.step_started_at is not None:
        # Steps edited in mid-rollout never raise a weight that was not earned.
        intended = min(intended, plan.status.rollout.confirmed_weight)
    following = steps[index] if index < len(steps) else None
    plan.wake(seconds_to_tick(plan.now, limit_of(plan.o.spec.rollout.interval)))
    pods = pods_for_all(plan)
    stable = plan.status.stable
    if stable:
        keep_workload(plan, stable, "stable", pods)
        keep_service(plan, "stable", stable.revision)
    # Capacity goes ahead of the weight: pods for the next share are up before it is asked for. Copies may be more.
    loads = [load_of(steps[index - 1]) if index else 0, load_of(following) if following else 100]
    wanted = capacity(pods, max(loads))
    seen = plan.o.workloads.get(canary.revision)
    if not keep_workload(plan, canary, "canary", wanted) and seen and not seen.intact:
        _soak_again(plan)
    if not keep_service(plan, "canary", canary.revision):
        plan.wake(POLL_SECONDS)
        return plan.done("CanaryStarting", f"version {canary.version} gets its own Service")
    if plan.o.route.weight != intended or (index and not plan.o.route.intact):
        return _shift(plan, canary, intended)
    if index and plan.status.rollout.step_started_at is None:
        return _confirm(plan, canary, steps[index - 1], intended)
    if following is None:
        return _finish_last_step(plan, steps[-1])
    return _earn(plan, canary, index, following)


def _shift(plan: Plan, canary: RevisionRef, intended: int) -> Decision:
    """Make the route say what the status intends: a step just begun, one interrupted, or one edited by hand."""
    needed = capacity(pods_for_all(plan), intended)
    if intended > plan.o.route.weight and plan.o.canary.serves(canary.revision) < needed:
        plan.wake(POLL_SECONDS)
        return plan.done("WaitingForEndpoints", f"weight {intended} waits for {needed} ready endpoints of the canary")
    if plan.status.rollout.step_started_at is not None:
        plan.tell("RouteRepaired", f"the route was changed by somebody else; weight {intended} again", warning=True)
    plan.act(SetWeight(intended))
    plan.wake(0)
    return plan.done("Shifting", f"weight {plan.o.route.weight} -> {intended}")


def _confirm(plan: Plan, canary: RevisionRef, step: Step, weight: int) -> Decision:
    reason, message = "WeightShifted", f"version {canary.version} gets {weight} % of the traffic"
    if step.shadow:
        if not shadowed(plan, step):
            return _await_plan(plan, canary, step)
        reason = "Shadowing"
        message = f"version {canary.version} gets copies of {step.shadow} % of the requests, and answers nobody"
    plan.rollout(step_started_at=plan.now, hold_since=plan.now, confirmed_weight=weight)
    plan.tell(reason, message)
    return plan.done(reason, message)


def _await_plan(plan: Plan, canary: RevisionRef, step: Step) -> Decision:
    """The plan of the copies is not seen yet. Nothing is judged meanwhile, so this has a limit of its own."""
    if plan.status.rollout.hold_since is None:
        plan.rollout(hold_since=plan.now)
    held = seconds_since(plan.status.rollout.hold_since, plan.now)
    if held > limit_of(plan.o.spec.rollout.hold_timeout):
        message = f"version {canary.version}: the plan of its copies was not seen for {format_duration(held)}"
        return begin_rollback(plan, Outcome.ROLLED_BACK, "HoldTimeout", message)
    plan.wake(POLL_SECONDS)
    return plan.done("Shifting", f"copies of {step.shadow} % of the requests for version {canary.version}")


def _soak_again(plan: Plan) -> None:
    """After an edit by hand what was seen is no evidence about this revision: judge it from the start."""
    plan.update(analysis=None)
    if plan.status.rollout.step_started_at is not None:
        plan.rollout(step_started_at=plan.now, hold_since=plan.now)


def _finish_last_step(plan: Plan, last: Step) -> Decision:
    """All traffic is on the canary. Stable has no requests left to compare with: only the dwell time is left."""
    left = limit_of(last.min_duration) - seconds_since(plan.status.rollout.step_started_at, plan.now)
    if left > 0:
        plan.wake(left)
        return plan.done("Soaking", f"at weight 100 for another {format_duration(left)}")
    if plan.o.spec.paused:
        return plan.done("Paused", "spec.paused is true; promotion waits")
    enter(plan, Stage.PROMOTING)
    return plan.done("Promoting", "the canary carries all traffic")


def _earn(plan: Plan, canary: RevisionRef, index: int, following: Step) -> Decision:
    """The next step needs ready pods, the dwell time, a fresh Pass once there is traffic, and a person where asked."""
    if plan.o.spec.paused:
        return plan.done("Paused", f"spec.paused is true; holding at step {index}")
    if plan.status.rollout.reason == "Paused":
        plan.rollout(hold_since=plan.now)
    waiting = (
        _await_capacity(plan, canary, following) or recover(plan) or _await_evidence(plan, canary, index, following)
    )
    unapproved = following.approval and plan.o.approved != f"{canary.revision}/{index + 1}"
    if unapproved and (waiting is None or _cleared(plan, index)):
        plan.rollout(hold_since=plan.now)
        return plan.done("AwaitingApproval", f"step {index + 1} ({_named(following)}) waits for a person's approval")
    if waiting:
        return waiting
    plan.update(step=StepStatus(index=index + 1, count=plan.status.step.count))
    needed = capacity(pods_for_all(plan), load_of(following))
    plan.rollout(step_started_at=None, hold_since=None, waiting_since=None, earned_pods=needed)
    if following.shadow:
        plan.act(Mirror(canary.revision, following.shadow))
    else:
        plan.act(SetWeight(following.weight))
    plan.wake(0)
    return plan.done("StepStarted", f"step {index + 1}: {_named(following)}")


def _named(step: Step) -> str:
    return f"shadow {step.shadow}" if step.shadow else f"weight {step.weight}"


def _await_capacity(plan: Plan, canary: RevisionRef, following: Step) -> Decision | None:
    needed = capacity(pods_for_all(plan), load_of(following))
    seen = plan.o.workloads.get(canary.revision)
    serving = plan.o.canary.serves(canary.revision)
    if seen and seen.ready >= needed and serving >= needed:
        plan.rollout(waiting_since=None)
        return None
    if plan.status.rollout.waiting_since is None:
        plan.rollout(waiting_since=plan.now)
    waited = seconds_since(plan.status.rollout.waiting_since, plan.now)
    why = f": {seen.waiting}" if seen and seen.waiting else ""
    text = f"{seen.ready if seen else 0} of {needed} canary pods ready for {_named(following)}{why}"
    if waited > limit_of(plan.o.spec.rollout.ready_timeout):
        message = f"version {canary.version}: {text}; waited {format_duration(waited)}"
        return begin_rollback(plan, Outcome.ROLLED_BACK, "ReadyTimeout", message)
    plan.wake(POLL_SECONDS)
    return plan.done("WaitingForPods", text)


def _dwell_left(plan: Plan, index: int) -> float:
    dwell = limit_of(plan.o.spec.rollout.steps[index - 1].min_duration)
    return dwell - seconds_since(plan.status.rollout.step_started_at, plan.now)


def _cleared(plan: Plan, index: int) -> bool:
    """Was the newest judgement of this step a Pass, with the dwell time over?"""
    analysis, started = plan.status.analysis, plan.status.rollout.step_started_at
    if not index or not analysis or not analysis.judged_at or not started:
        return False
    return analysis.verdict == Verdict.PASS and analysis.judged_at > started and _dwell_left(plan, index) <= 0


def _fresh(plan: Plan, following: Step) -> bool:
    """Is the newest judgement the newest that there can be, and one on this step? The next one is an interval later."""
    analysis, interval = plan.status.analysis, limit_of(plan.o.spec.rollout.interval)
    if not analysis or not analysis.judged_at or analysis.judged_at > plan.now:
        return False
    if judged_weight(plan) != following.weight:
        return False  # the steps were edited since
    return tick_before(analysis.judged_at, interval) == tick_before(plan.now, interval)


def _await_evidence(plan: Plan, canary: RevisionRef, index: int, following: Step) -> Decision | None:
    """A hold that outlasts its limit gives the traffic back; a timeout never promotes."""
    if index == 0:
        return None  # no share yet, so no evidence either
    left = _dwell_left(plan, index)
    if _cleared(plan, index) and _fresh(plan, following):
        return None
    held = seconds_since(plan.status.rollout.hold_since, plan.now)
    words = _words(plan)
    if held > limit_of(plan.o.spec.rollout.hold_timeout):
        message = f"version {canary.version}: no decision in {format_duration(held)} at step {index}. {words}"
        return begin_rollback(plan, Outcome.ROLLED_BACK, "HoldTimeout", message)
    if plan.status.rollout.incident_since:
        return plan.done("SharedIncident", words)
    if left > 0:
        plan.wake(left)
        return plan.done("Soaking", f"step {index} lasts another {format_duration(left)}. {words}".rstrip())
    return plan.done("Holding", words or f"step {index} waits for its next judgement")


def _words(plan: Plan) -> str:
    analysis = plan.status.analysis
    waiting = (
        [
            f"{check.name} {check.verdict}: {check.reason}"
            for check in analysis.checks
            if check.verdict != "Pass" and check.name not in REPORTED
        ]
        if analysis
        else []
    )
    return "; ".join(waiting)
