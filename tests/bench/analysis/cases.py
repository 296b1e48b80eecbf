"""What is measured, and the bound that each measurement must keep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bench.analysis.rollouts import Plan
from bench.analysis.traffic import INTERVAL, MIX, Behaviour, Scenario, bins_of
from iris_operator.analysis.evidence.limit import information, seconds_to_detect
from iris_operator.analysis.metrics.latency import tolerated

ALPHA, BETA = 0.01, 0.05
HALF_HOUR, TWO_HOURS = 1800.0, 7200.0
WEIGHT = 0.1
# The margins are the resource's defaults (api.spec).
MAX_HARM, MAX_RATIO, MAX_SLOWER, MAX_SHIFT, MAX_DROP = 0.02, 2.0, 1.25, 0.15, 0.02
ROLLBACK_SHIFT = MAX_SHIFT / 3


@dataclass(frozen=True)
class Case:
    """A scenario with a plan, and what is asked of the rule in it. `limit` is in seconds."""

    scenario: Scenario
    plan: Plan
    limit: float = 0.0
    rollouts: float = 1.0
    """Of the usual number: a long scenario is simulated less often."""


def diurnal(second: float) -> float:
    """From a fifth to the double within ten minutes: a day, sped up."""
    return 1.1 + 0.9 * math.sin(2 * math.pi * second / 600.0)


def incident(second: float) -> float:
    """20 % of all requests fail for five minutes, on both."""
    return 0.2 if 300.0 <= second < 600.0 else 0.0


def healthy() -> Sequence[Case]:
    """Nothing is wrong with the canary: half of each soak at 10 %, half at 50 %."""
    soak = Scenario("healthy", seconds=HALF_HOUR)
    worse = Behaviour(errors=0.008)
    noisy = replace(soak, canary=worse, stable=worse, seconds=TWO_HOURS)
    scenarios = [
        soak,
        replace(soak, name="healthy, diurnal", load=diurnal),
        replace(soak, name="healthy, bursty", burst=1.0),
        replace(soak, name="healthy, 1 request/s", rate=1.0),
        replace(soak, name="healthy, base errors 0.8 %", canary=worse, stable=worse),
        replace(soak, name="healthy, stable has 60 % cached", cached=0.6),
        replace(soak, name="shared incident 20 % for 5 min", shared_errors=incident),
        replace(noisy, name="pods vary by 1, 2-hour soak", noise=1.0),
        replace(noisy, name="pods vary by 2, 2-hour soak", noise=2.0),
    ]
    return [
        Case(scenario, Plan(dwell=scenario.seconds / 2), rollouts=HALF_HOUR / scenario.seconds)
        for scenario in scenarios
    ]


def faults() -> Sequence[Case]:
    """One thing is wrong; the weight stays at 10 %, for which the information limit is meant."""
    hold = Plan(hold=True)

    def errors(share: float, onset: float = 0.0) -> Case:
        name = f"errors 0.1 -> {100 * share:g} %" + (f", from minute {onset / 60:g}" if onset else "")
        scenario = Scenario(name, Behaviour(errors=share), onset=onset, seconds=onset + HALF_HOUR)
        return Case(scenario, hold, limit_of(share, 0.001))

    slower, tail = Behaviour(slower=1.2), Behaviour(tail=0.02)
    # As long as the canary's cache stays empty. The better it is filled, the less of a slower model anybody feels.
    uncached = limit_of_bins(slower, 0.4)
    mix = (MIX[0] + 0.1, MIX[1] - 0.1, MIX[2])
    late, share = 600.0, 0.2
    labels = Scenario(
        "accuracy 96 -> 94 %, a fifth labelled after 10 min",
        Behaviour(wrong=0.06),
        labels=share,
        labels_late=late,
        seconds=2 * TWO_HOURS,
    )
    return [
        *(errors(share) for share in (0.01, 0.05, 0.5)),
        *(errors(share, 180.0) for share in (0.01, 0.05)),
        Case(Scenario("latency +20 %", slower), hold, limit_of_bins(slower)),
        Case(Scenario("latency +20 %, stable has 60 % cached", slower, cached=0.6, warms=math.inf), hold, uncached),
        Case(Scenario("tail: 2 % of requests +300 ms", tail), hold, limit_of_bins(tail)),
        Case(
            Scenario("class mix moved by 10 points", Behaviour(mix=mix), seconds=2 * HALF_HOUR), hold, limit_of_mix(mix)
        ),
        # Nobody knows anything before the first label: its lateness is part of the limit, once.
        Case(labels, hold, limit_of(0.06, 0.04, share), rollouts=0.4),
    ]


def at_the_margin() -> Sequence[tuple[str, Case]]:
    """A canary that is bad by exactly the margin, at the last decision; and the metric that must not let it go on."""
    plan = Plan(weights=(0.5, 1.0), hold=True)

    def case(name: str, canary: Behaviour, stable: Behaviour = Behaviour(), **more: float) -> Case:  # noqa: B008 - frozen
        return Case(Scenario(name, canary, stable, seconds=HALF_HOUR, **more), plan)  # type: ignore[arg-type] # floats by name

    moved = (MIX[0] + MAX_SHIFT, MIX[1] - MAX_SHIFT, MIX[2])
    often = Behaviour(errors=0.02)
    return [
        ("errorRate", case("errors: maxHarm", Behaviour(errors=MAX_HARM))),
        ("errorRate", case("errors: maxRatio", Behaviour(errors=MAX_RATIO * 0.02), often)),
        ("latency", case("latency: maxSlower", Behaviour(slower=MAX_SLOWER))),
        ("predictionDrift", case("class mix: maxShift", Behaviour(mix=moved))),
        ("accuracy", case("accuracy: maxDrop", Behaviour(wrong=0.04 + MAX_DROP), labels=0.2)),
    ]


@dataclass(frozen=True)
class Quick:
    """How long a healthy rollout may take: minutes of dwelling, or a bound."""

    scenario: Scenario
    plan: Plan = field(default_factory=Plan)
    minutes: float = 2.0


def durations() -> Sequence[Quick]:
    """From the first request to all of the traffic."""
    return [
        Quick(Scenario("rollout, 100 requests/s", seconds=HALF_HOUR)),
        Quick(Scenario("rollout, 100 requests/s, stable has 60 % cached", cached=0.6, seconds=HALF_HOUR)),
        Quick(Scenario("rollout, 1 request/s", rate=1.0, seconds=TWO_HOURS), minutes=35.0),
    ]


def limit_of(p_c: float, p_s: float, share: float = 1.0, rate: float = 100.0) -> float:
    """log(1/alpha) / I in seconds, for a rate that is the same under the hypothesis."""
    return seconds_to_detect(ALPHA, information(rate * WEIGHT * share, rate * (1 - WEIGHT) * share, p_c, p_s))


def limit_of_bins(canary: Behaviour, share: float = 1.0) -> float:
    """The limit at the bound of the histogram that tells most, against the slowness that may not be rolled back.

    `share` of stable's requests, and all of the canary's, tell something.
    """
    slow_c, slow_s, slow_t = (
        1 - np.cumsum(bins_of(behaviour))[:-1]
        for behaviour in (canary, Behaviour(), Behaviour(slower=tolerated(MAX_SLOWER)))
    )
    per_second = max(
        information(100 * WEIGHT, 100 * (1 - WEIGHT) * share, float(c), float(s), float(t - s))
        for c, s, t in zip(slow_c, slow_s, slow_t, strict=True)
        if c > t and 1e-12 < s < 1 - 1e-12
    )
    return seconds_to_detect(ALPHA, per_second)


def limit_of_mix(mix: tuple[float, ...]) -> float:
    """The limit of the class that tells most, against the shift that may not be rolled back."""
    per_second = max(
        information(100 * WEIGHT, 100 * (1 - WEIGHT), c, s, math.copysign(ROLLBACK_SHIFT, c - s))
        for c, s in zip(mix, MIX, strict=True)
        if abs(c - s) > ROLLBACK_SHIFT
    )
    return seconds_to_detect(ALPHA, per_second)


def delay_bound(case: Case) -> float:
    """Seconds: twice the limit and one interval, after what nobody can know earlier."""
    return case.scenario.labels_late + 2 * case.limit + INTERVAL
