"""What margins and traffic mean in minutes, before anything runs: to be said at admission."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from iris_operator.analysis.checks.ratio import information_per_request
from iris_operator.analysis.evidence.limit import kl
from iris_operator.analysis.metrics.latency import MAX_SHARE
from iris_operator.analysis.sentences import duration, percent
from iris_operator.api.durations import parse_duration
from iris_operator.api.spec import Analysis, Rollout

# Nats that the stakes on other effects cost on the way, and that chance takes away more often than it gives.
_STAKES = 1.5
# Durations and classes are judged on the share nearest to one half, which is known worst.
_WIDEST = 0.4
_LONG = 3600.0
# A quiet service's own errors, where nobody says better.
_USUAL_ERRORS = 0.001


@dataclass(frozen=True)
class Forecast:
    """Expected length of a healthy rollout: seconds by step, and one sentence."""

    seconds: tuple[float, ...]
    sentence: str

    @property
    def total(self) -> float:
        """Seconds over all steps."""
        return sum(self.seconds)


def expect(
    settings: Analysis, rollout: Rollout, requests_per_second: float, error_rate: float = _USUAL_ERRORS
) -> Forecast:
    """How long a healthy canary takes with these margins and this traffic of both versions together."""
    weights = [step.weight / 100 for step in rollout.steps]
    if weights[-1] < 1.0:
        weights.append(1.0)
    interval = parse_duration(rollout.interval)
    seen, lengths, slowest = 0.0, [], ""
    for at, (weight, following) in enumerate(pairwise(weights)):
        copied = (rollout.steps[at].shadow or 0) / 100
        per_second = requests_per_second * (copied or weight)
        # Stable answers what is copied, too.
        needs = _requests(settings, copied / (1 + copied) or weight, following, error_rate)
        # The harm is judged on all requests so far; so is everything before the last step, and anew in those before.
        whole = following >= 1.0
        needs = {name: need - seen if whole or name == "errorRate" else need for name, need in needs.items()}
        slowest = max(needs, key=lambda name: needs[name])
        evidence = needs[slowest] / per_second if per_second > 0 else math.inf
        # The first interval of a step warms up, and a pass is only seen at the end of an interval.
        length = max(parse_duration(rollout.steps[at].min_duration), evidence + 1.5 * interval)
        lengths.append(length)
        seen += per_second * length if math.isfinite(length) else 0.0
    if weights[-1] == 1.0 and len(rollout.steps) == len(weights):
        lengths.append(parse_duration(rollout.steps[-1].min_duration))
    return Forecast(tuple(lengths), _sentence(settings, sum(lengths), requests_per_second, slowest))


def _requests(settings: Analysis, weight: float, following: float, error_rate: float) -> dict[str, float]:
    """Canary requests that each check needs for this step."""
    nats = math.log(1.0 / settings.missed_regression) + _STAKES
    checks = settings.checks

    def alike(margin: float, share: float = _WIDEST) -> float:
        gain = information_per_request(weight, max(1.0 - weight, 1e-9), share, min(margin / following, 1 - 1e-6))
        return nats / gain if gain > 0 else math.inf

    harm = min(checks.error_rate.max_harm / following, 1 - 1e-9)
    by_harm = kl(error_rate, harm) if error_rate < harm else 0.0
    edge = weight * checks.error_rate.max_ratio / (1 - weight + weight * checks.error_rate.max_ratio)
    by_ratio = error_rate / weight * kl(weight, edge)
    gain = max(by_harm, by_ratio)
    needs = {
        "errorRate": nats / gain if gain > 0 else math.inf,
        "latency": alike(max(MAX_SHARE, 0.35 * math.log(checks.latency.max_slower))),
        "predictionDrift": alike(checks.prediction_drift.max_shift),
    }
    if checks.accuracy:
        needs["accuracy"] = alike(checks.accuracy.max_drop, 0.05)
    return needs


def _sentence(settings: Analysis, seconds: float, rate: float, slowest: str) -> str:
    words = f"at {rate:g} requests/s a healthy rollout takes about {duration(seconds)} with these margins"
    if seconds < _LONG:
        return words
    harm = percent(settings.checks.error_rate.max_harm)
    help_ = f"Wider margins (maxHarm is {harm}) or a larger first step shorten it"
    return f"{words}: {slowest} needs the most requests. {help_}"
