"""The evidence that lets a step end: a current Pass of its own requests, after the dwell time."""

from __future__ import annotations

from iris_operator.analysis.registry import REPORTED
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.durations import format_duration
from iris_operator.api.spec import Step
from iris_operator.api.status import Outcome, RevisionRef
from iris_operator.rollout.builder import DecisionBuilder, seconds_of, seconds_since, steps_of
from iris_operator.rollout.decision import Decision
from iris_operator.rollout.edited_steps import judged_weight
from iris_operator.rollout.rolling_back import begin_rollback
from iris_operator.rollout.timing import judgement_interval, tick_before


def await_evidence(
    builder: DecisionBuilder, canary: RevisionRef, index: int, following: Step | None
) -> Decision | None:
    """None when the step may end. `following` is the next step, None in the last one.

    A hold that exceeds its timeout rolls back; a timeout never promotes. Nothing passes during an incident.
    """
    if index == 0:
        return None  # no share yet, so no evidence either
    left = _dwell_left(builder, index)
    incident = builder.status.rollout.incident_since is not None
    if not incident and step_passed(builder, index, following) and _judgement_is_current(builder, following):
        return None
    held = seconds_since(builder.status.rollout.hold_since, builder.now)
    explanation = _explain_checks(builder)
    if held > seconds_of(builder.spec.rollout.hold_timeout):
        message = f"version {canary.version}: no decision in {format_duration(held)} at step {index}. {explanation}"
        return begin_rollback(builder, Outcome.ROLLED_BACK, "HoldTimeout", message)
    if incident:
        return builder.build("SharedIncident", explanation)
    if left > 0:
        builder.requeue_after(left)
        return builder.build("Soaking", f"step {index} lasts another {format_duration(left)}. {explanation}".rstrip())
    return builder.build("Holding", explanation or f"step {index} waits for its next judgement")


def step_passed(builder: DecisionBuilder, index: int, following: Step | None) -> bool:
    """Was the newest judgement of this step good enough, and is the dwell time over?"""
    analysis, started = builder.status.analysis, builder.status.rollout.step_started_at
    if not index or not analysis or not analysis.judged_at or not started:
        return False
    enough = (
        # All requests are the canary's: stable has none to pass by, so it is enough that no check failed.
        {Verdict.PASS.value, Verdict.HOLD.value} if _without_reference(builder, following) else {Verdict.PASS.value}
    )
    return analysis.verdict in enough and analysis.judged_at > started and _dwell_left(builder, index) <= 0


def _without_reference(builder: DecisionBuilder, following: Step | None) -> bool:
    return following is None and builder.status.control is None


def _dwell_left(builder: DecisionBuilder, index: int) -> float:
    dwell = seconds_of(steps_of(builder.spec)[index - 1].min_duration)
    return dwell - seconds_since(builder.status.rollout.step_started_at, builder.now)


def _judgement_is_current(builder: DecisionBuilder, following: Step | None) -> bool:
    """Was the newest judgement made at the last tick, and for this step? One that is due may say something else."""
    analysis, interval = builder.status.analysis, judgement_interval(seconds_of(builder.spec.rollout.interval))
    if not analysis or not analysis.judged_at or analysis.judged_at > builder.now:
        return False
    next_weight = following.weight if following else steps_of(builder.spec)[-1].weight
    if judged_weight(builder) != next_weight and not _without_reference(builder, following):
        return False  # the steps were edited since
    return tick_before(analysis.judged_at, interval) == tick_before(builder.now, interval)


def _explain_checks(builder: DecisionBuilder) -> str:
    analysis = builder.status.analysis
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
