"""How long a rollout takes: an estimate for people, and a warning when the traffic is too little for the margins."""

from __future__ import annotations

import math
from datetime import datetime

from iris_operator.analysis.explain import MAX_REQUESTS_MISSING
from iris_operator.analysis.forecast import Forecast, forecast_rollout
from iris_operator.api.durations import format_duration, parse_duration
from iris_operator.rollout.builder import load_percent, seconds_since, steps_of
from iris_operator.rollout.observation import Observation

_SLOW_SECONDS = 3600.0


def time_left(observation: Observation, now: datetime) -> str | None:
    """The time for this step's missing requests at the measured rate, and for the steps to come with a healthy canary.

    None while there is nothing to estimate from, and when it would not end at this rate.
    """
    forecast, rate = _forecast(observation), observation.requests_per_second
    if forecast is None or rate is None:
        return observation.status.analysis.estimated_time_left if observation.status.analysis else None
    index = observation.status.step.index
    seconds = sum(forecast.seconds[index:]) + (_step_left(observation, forecast, rate, now) if index else 0.0)
    return format_duration(seconds) if math.isfinite(seconds) else None


def slow_rollout_warning(observation: Observation) -> str:
    """A warning before the first canary request, if evidence takes an hour longer than the dwell times; else empty."""
    forecast = _forecast(observation)
    dwell = sum(parse_duration(step.min_duration) for step in observation.spec.rollout.steps)
    if forecast is None or forecast.total - dwell < _SLOW_SECONDS:
        return ""
    limit = parse_duration(observation.spec.rollout.hold_timeout)
    if max(forecast.seconds) <= limit:
        return forecast.sentence
    return (
        f"{forecast.sentence}. A step takes longer than rollout.holdTimeout ({observation.spec.rollout.hold_timeout}): "
        "the release will pause at weight 0"
    )


def _forecast(observation: Observation) -> Forecast | None:
    rate = observation.requests_per_second
    return None if rate is None else forecast_rollout(observation.spec.analysis, observation.spec.rollout, rate)


def _step_left(observation: Observation, forecast: Forecast, rate: float, now: datetime) -> float:
    judgement, rollout = observation.judgement, observation.status.rollout
    step = steps_of(observation.spec)[observation.status.step.index - 1]
    dwell = parse_duration(step.min_duration) - seconds_since(rollout.step_started_at, now)
    per_second = rate * load_percent(step) / 100
    missing = max((result.requests_missing for result in judgement.results), default=0) if judgement else 0
    if missing >= MAX_REQUESTS_MISSING:
        # Too little was measured to extrapolate: as long as a healthy step takes.
        return max(dwell, *forecast.seconds[observation.status.step.index - 1 :][:1])
    return max(dwell, missing / per_second if per_second else (math.inf if missing else 0.0), 0.0)
