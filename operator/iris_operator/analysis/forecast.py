"""How long a rollout takes with its margins and traffic: forecast before it begins, and while it runs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from iris_operator.analysis.check import Check, ForecastStep, Shape
from iris_operator.analysis.formatting import duration, percent
from iris_operator.analysis.metrics.margins import OWN_PART
from iris_operator.analysis.registry import build_checks
from iris_operator.api.checks import Analysis
from iris_operator.api.durations import parse_duration
from iris_operator.api.spec import Rollout

# Nats that the mixture's other components cost, and that random variation takes away more often than it gives.
_MIXTURE_COST = 1.5
_LONG = 3600.0
# Of the canary in the last step, in which a control group holds back the rest.
_LAST_SHARE = 0.8
# Of a service with few errors, where the caller knows no better.
_TYPICAL_ERROR_RATE = 0.001


@dataclass(frozen=True)
class Forecast:
    """Expected length of a healthy rollout: seconds by step, and one sentence."""

    seconds: tuple[float, ...]
    sentence: str

    @property
    def total(self) -> float:
        """Seconds over all steps."""
        return sum(self.seconds)


def forecast_rollout(
    settings: Analysis, rollout: Rollout, requests_per_second: float, error_rate: float = _TYPICAL_ERROR_RATE
) -> Forecast:
    """How long a healthy canary takes with these margins and this traffic of both versions together."""
    weights = [step.weight / 100 for step in rollout.steps]
    dwells = [parse_duration(step.min_duration) for step in rollout.steps]
    if weights[-1] < 1.0:
        weights.append(1.0)
        dwells.append(0.0)
    interval, warm_up = parse_duration(rollout.interval), parse_duration(rollout.warm_up)
    control = settings.control == "Pods"
    checks = build_checks(settings.checks, Shape(control=control, sums=True))
    nats = math.log(1.0 / settings.missed_regression) + _MIXTURE_COST
    requests, slowest = 0.0, ""
    lengths: list[float] = []
    for at, (weight, next_share) in enumerate(pairwise([*weights, 1.0])):
        mirrored = (rollout.steps[at].shadow or 0) / 100 if at < len(rollout.steps) else 0.0
        per_second = requests_per_second * (mirrored or (min(weight, _LAST_SHARE) if control else weight))
        # Stable answers the mirrored requests, too.
        share = mirrored / (1 + mirrored) or min(weight, _LAST_SHARE)
        needed = _requests_needed(checks.values(), ForecastStep(share, next_share, nats, error_rate), requests)
        most = max(needed, key=lambda name: needed[name])
        evidence = needed[most] / per_second if per_second > 0 else math.inf
        # A pass is noticed at the end of an interval only. New pods warm up, and durations are compared with a past.
        begin = 0.0 if at else warm_up + interval
        length = max(dwells[at], evidence + 0.5 * interval, begin + interval)
        slowest = most if length >= max(lengths, default=0.0) else slowest
        lengths.append(length)
        requests += per_second * length if math.isfinite(length) else 0.0
    return Forecast(tuple(lengths), _sentence(settings, sum(lengths), requests_per_second, slowest))


def _requests_needed(checks: Iterable[Check], step: ForecastStep, so_far: float) -> dict[str, float]:
    """Canary requests that each check still needs in this step after `so_far` of the rollout."""
    needed: dict[str, float] = {}
    for check in checks:
        requests = check.requests_needed(step)
        if requests is not None:
            # Before all of the traffic all evidence counts that was gathered, but a step must earn its own part.
            counts_all = check.cumulative or step.next_share >= 1.0
            needed[check.name] = max(requests - so_far, OWN_PART * requests) if counts_all else requests
    return needed


def _sentence(settings: Analysis, seconds: float, rate: float, slowest: str) -> str:
    if math.isinf(seconds):
        return f"at {rate:g} requests/s no rollout comes to an end: a step needs requests of its own"
    text = f"at {rate:g} requests/s a healthy rollout takes about {duration(seconds)} with these margins"
    if seconds < _LONG:
        return text
    harm = percent(settings.checks.error_rate.max_harm)
    advice = f"Wider margins (maxHarm is {harm}) or a larger first step shorten it"
    return f"{text}: {slowest} needs the most requests. {advice}"
