"""The one entrance: from an observation to a decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.judge import Judgement
from iris_operator.analysis.memory import written
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.durations import parse_duration
from iris_operator.api.status import AnalysisStatus, CheckStatus, Evidence, ReleaseStatus, Stage
from iris_operator.rollout.decision import Decision
from iris_operator.rollout.deleting import deleting
from iris_operator.rollout.idle import idle
from iris_operator.rollout.initializing import initializing
from iris_operator.rollout.mirroring import mirror
from iris_operator.rollout.observation import Observation
from iris_operator.rollout.outlook import time_left
from iris_operator.rollout.plan import Plan, steps_of
from iris_operator.rollout.progressing import progressing
from iris_operator.rollout.promoting import promoting
from iris_operator.rollout.protecting import protect
from iris_operator.rollout.report import report
from iris_operator.rollout.rolling_back import rolling_back
from iris_operator.rollout.scaling import autoscale
from iris_operator.rollout.timing import tick_before
from iris_operator.rollout.upkeep import retire

_STAGES: Mapping[Stage, Callable[[Plan], Decision]] = {
    Stage.INITIALIZING: initializing,
    Stage.IDLE: idle,
    Stage.PROGRESSING: progressing,
    Stage.PROMOTING: promoting,
    Stage.ROLLING_BACK: rolling_back,
}
_WITH_CANARY = {Stage.PROGRESSING, Stage.PROMOTING, Stage.ROLLING_BACK}


def decide(observation: Observation, now: datetime) -> Decision:
    """What to do about a release, seen like this, at this moment.

    Pure: the same observation and moment give the same decision. Total: every stage answers, and every answer has a
    reason. `now` is timezone-aware.
    """
    plan = Plan(observation, now)
    judgement = observation.judgement or observation.lesson
    if judgement is not None:
        plan.update(analysis=_analysis_status(observation, judgement, now))
    if observation.deleting:
        return report(plan, deleting(plan))
    stage = plan.status.rollout.stage
    missing = _missing(observation.status)
    if missing:
        message = f"the status says stage {stage} and names no {missing} revision; nothing moves until it is mended"
        return report(plan, plan.done("InconsistentStatus", message))
    if stage is not Stage.INITIALIZING:
        autoscale(plan)
        protect(plan)
        mirror(plan)
        retire(plan)
    return report(plan, _STAGES[stage](plan))


def _missing(status: ReleaseStatus) -> str:
    """Which revision the stage needs and the status lacks: somebody has edited it."""
    stage = status.rollout.stage
    if stage is not Stage.INITIALIZING and status.stable is None:
        return "stable"
    return "canary" if stage in _WITH_CANARY and status.canary is None else ""


def judgement_due(observation: Observation, now: datetime) -> bool:
    """Is it time to look at the metrics? Only while the canary has a confirmed share and a next step to earn."""
    rollout = observation.status.rollout
    if observation.deleting or rollout.stage is not Stage.PROGRESSING or rollout.step_started_at is None:
        return False
    if observation.status.step.index >= len(steps_of(observation.spec)):
        return False
    analysis = observation.status.analysis
    judged_at = analysis.judged_at if analysis else None
    return _ticked(observation, max(judged_at, rollout.step_started_at) if judged_at else rollout.step_started_at, now)


def lesson_due(observation: Observation, now: datetime) -> bool:
    """Is it time to learn from stable alone? Only in a release whose canary has no share yet; then at once."""
    rollout, analysis = observation.status.rollout, observation.status.analysis
    if observation.deleting or rollout.stage is not Stage.PROGRESSING or observation.status.step.index:
        return False
    if observation.status.stable is None or rollout.step_started_at is not None:
        return False
    judged_at = analysis.judged_at if analysis else None
    return judged_at is None or _ticked(observation, judged_at, now)


def _ticked(observation: Observation, last: datetime, now: datetime) -> bool:
    """Has a tick passed since? Also when the clock was set back."""
    interval = parse_duration(observation.spec.rollout.interval)
    return now < last or tick_before(now, interval) > tick_before(last, interval)


def _analysis_status(observation: Observation, judgement: Judgement, now: datetime) -> AnalysisStatus:
    before = observation.status.analysis or AnalysisStatus()
    # A lesson that went well has nothing to say of the canary.
    silent = observation.lesson is not None and judgement.counted
    return AnalysisStatus(
        verdict=Verdict.HOLD.value if silent else judgement.verdict.value,
        checks=[] if silent else [_check_status(result) for result in judgement.results],
        estimated_time_left=time_left(observation, now),
        judged_at=now,
        judged_through=observation.judged_through or before.judged_through,
        memory=written(judgement.memory),
    )


def _check_status(result: CheckResult) -> CheckStatus:
    evidence = None
    if result.bounds is not None and result.worse is not None:
        evidence = Evidence(
            worse=result.worse,
            rollback_at=result.bounds.rollback_at,
            good=result.good if result.good is not None else 1.0,
            promote_at=result.bounds.promote_at,
        )
    return CheckStatus(
        name=result.name,
        verdict=result.verdict.value,
        reason=result.reason,
        canary=result.canary,
        stable=result.stable,
        requests=result.requests,
        evidence=evidence,
    )
