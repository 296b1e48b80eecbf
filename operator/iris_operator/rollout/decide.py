"""The entry point: from an observation to a decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.checkpoint import serialize
from iris_operator.analysis.judge import Judgement
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.durations import parse_duration
from iris_operator.api.status import AnalysisStatus, CheckStatus, Evidence, Stage
from iris_operator.rollout.adopting import adopt
from iris_operator.rollout.annotations import answer_annotations
from iris_operator.rollout.builder import DecisionBuilder
from iris_operator.rollout.clock import correct_times
from iris_operator.rollout.decision import Decision
from iris_operator.rollout.disruption_budget import ensure_disruption_budgets
from iris_operator.rollout.drift_repair import scale_down_retired
from iris_operator.rollout.estimate import time_left
from iris_operator.rollout.finalizing import finalizing
from iris_operator.rollout.hold import hold
from iris_operator.rollout.idle import idle
from iris_operator.rollout.initializing import initializing
from iris_operator.rollout.observation import Observation
from iris_operator.rollout.progressing import progressing
from iris_operator.rollout.promoting import promoting
from iris_operator.rollout.report import report
from iris_operator.rollout.scaling import ensure_autoscaler
from iris_operator.rollout.shadow import ensure_shadow_config
from iris_operator.rollout.take_over import replace_or_roll_back
from iris_operator.rollout.timing import judgement_interval, tick_before
from iris_operator.rollout.unreadable import UNREADABLE, await_correction

_STAGES: Mapping[Stage, Callable[[DecisionBuilder], Decision]] = {
    Stage.INITIALIZING: initializing,
    Stage.IDLE: idle,
    Stage.PROGRESSING: progressing,
    Stage.PROMOTING: promoting,
    Stage.ROLLING_BACK: replace_or_roll_back,
}
# Characters of one check's reason: a query's error can be as long as an answer.
_MAX_REASON = 1000


def decide(observation: Observation, now: datetime) -> Decision:
    """The decision about a release that was observed like this, at this moment.

    Pure: the same observation and moment give the same decision. Total: every stage answers, and every answer has a
    reason. `now` is timezone-aware.
    """
    status = correct_times(observation.status, parse_duration(observation.spec.rollout.watch), now)
    observation = replace(observation, status=status)
    builder = DecisionBuilder(observation, now)
    judgement = observation.judgement or observation.baseline
    if judgement is not None:
        builder.update_status(analysis=_analysis_status(observation, judgement, now))
    if observation.deleting:
        return report(builder, finalizing(builder))
    if observation.unreadable:
        return await_correction(builder)
    for problem in observation.ignored:
        builder.add_problem(UNREADABLE, f"{problem}: it is ignored, and kept as it is")
    adopted = adopt(builder)
    if adopted:
        return report(builder, adopted)
    asked = hold(builder) or answer_annotations(builder)
    if asked:
        return report(builder, asked)
    stage = builder.status.rollout.stage
    if stage is not Stage.INITIALIZING:
        ensure_autoscaler(builder)
        ensure_disruption_budgets(builder)
        ensure_shadow_config(builder)
        scale_down_retired(builder)
    return report(builder, _STAGES[stage](builder))


def judgement_due(observation: Observation, now: datetime) -> bool:
    """Must the metrics be judged now? Only while the canary has a confirmed share, in the last step and paused, too."""
    rollout = observation.status.rollout
    if _not_judged(observation) or rollout.stage is not Stage.PROGRESSING or rollout.step_started_at is None:
        return False
    analysis = observation.status.analysis
    judged_at = analysis.judged_at if analysis else None
    return _tick_passed(
        observation, max(judged_at, rollout.step_started_at) if judged_at else rollout.step_started_at, now
    )


def baseline_due(observation: Observation, now: datetime) -> bool:
    """Must stable's baseline be measured now? Only in a release whose canary has no share yet; then at once."""
    rollout, analysis = observation.status.rollout, observation.status.analysis
    if _not_judged(observation) or rollout.stage is not Stage.PROGRESSING or observation.status.step.index:
        return False
    if observation.status.stable is None or rollout.step_started_at is not None:
        return False
    judged_at = analysis.judged_at if analysis else None
    return judged_at is None or _tick_passed(observation, judged_at, now)


def watch_due(observation: Observation, now: datetime) -> bool:
    """Must the promoted version be judged now, against what the one before was like?"""
    status = observation.status
    watched = status.watch
    if _not_judged(observation) or status.rollout.stage is not Stage.IDLE or watched is None or now >= watched.until:
        return False
    if status.stable is None or status.stable.revision != observation.target.revision:
        return False
    last = watched.judged_at or watched.judged_through
    return last is None or _tick_passed(observation, last, now)


def _not_judged(observation: Observation) -> bool:
    return observation.deleting or bool(observation.unreadable)


def _tick_passed(observation: Observation, last: datetime, now: datetime) -> bool:
    """Has a tick passed since then? True also when the clock was set back."""
    interval = judgement_interval(parse_duration(observation.spec.rollout.interval))
    return now < last or tick_before(now, interval) > tick_before(last, interval)


def _analysis_status(observation: Observation, judgement: Judgement, now: datetime) -> AnalysisStatus:
    before = observation.status.analysis or AnalysisStatus()
    # A baseline that was measured says nothing about the canary.
    baseline_only = observation.baseline is not None and judgement.counted
    return AnalysisStatus(
        verdict=Verdict.HOLD.value if baseline_only else judgement.verdict.value,
        checks=[] if baseline_only else [_check_status(result) for result in judgement.results],
        estimated_time_left=time_left(observation, now),
        judged_at=now,
        resolution=judgement.resolution or before.resolution,
        judged_through=observation.judged_through or before.judged_through,
        memory=serialize(judgement.checkpoint),
    )


def _check_status(result: CheckResult) -> CheckStatus:
    evidence = None
    if result.thresholds is not None and result.regression_e_value is not None:
        evidence = Evidence(
            worse=result.regression_e_value,
            rollback_at=result.thresholds.rollback_at,
            good=result.noninferiority_e_value if result.noninferiority_e_value is not None else 1.0,
            promote_at=result.thresholds.promote_at,
        )
    return CheckStatus(
        name=result.name,
        verdict=result.verdict.value,
        reason=result.reason[:_MAX_REASON],
        canary=result.canary,
        stable=result.stable,
        requests=result.requests,
        evidence=evidence,
    )
