"""The measurements and the bound of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bench.analysis.rollouts import Plan
from bench.analysis.traffic import (
    BOUNDS,
    IDLE_RATE,
    IDLE_SLOWER,
    INTERVAL,
    MEDIAN,
    MIX,
    SIGMA,
    WARM_UP,
    Behaviour,
    Scenario,
    bins_of,
)
from iris_operator.analysis.evidence.information_limit import information, seconds_to_detect
from iris_operator.analysis.metrics.mean_duration import ROLLBACK_DEVIATIONS, ROLLBACK_PART

ALPHA, BETA = 0.01, 0.05
HALF_HOUR, TWO_HOURS = 1800.0, 7200.0
WEIGHT = 0.1
# The margins are the resource's defaults (api.spec).
MAX_HARM, MAX_RATIO, MAX_SLOWER, MAX_SHIFT, MAX_DROP = 0.01, 2.0, 1.25, 0.15, 0.02
MIN_DIFFERENCE = 0.005
ROLLBACK_SHIFT = MAX_SHIFT / 3
# Pods in each arm of the row in which a fifth slower is hardly more than what they differ by.
MANY = 20


@dataclass(frozen=True)
class Case:
    """A scenario with a plan of steps, and the information limit in seconds."""

    scenario: Scenario
    plan: Plan
    limit: float = 0.0
    rollouts: float = 1.0
    """Factor on the usual number: a long scenario is simulated less often."""
    bounded: bool = True
    """Is there a bound? Not where what is sought is hardly more than what pods differ by: docs/adr/0060."""


def diurnal(second: float) -> float:
    """A day compressed to ten minutes: from 0.2 to 2 times the rate."""
    return 1.1 + 0.9 * math.sin(2 * math.pi * second / 600.0)


def incident(second: float) -> float:
    """20 % of all requests of both versions fail for five minutes."""
    return 0.2 if 300.0 <= second < 600.0 else 0.0


def healthy() -> Sequence[Case]:
    """Healthy canaries: half of each soak at 10 %, half at 50 %."""
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
    """Single faults; the weight stays at 10 %, for which the information limit is computed."""
    hold = Plan(hold=True)

    def errors(share: float, onset: float = 0.0) -> Case:
        name = f"errors 0.1 -> {100 * share:g} %" + (f", from minute {onset / 60:g}" if onset else "")
        scenario = Scenario(name, Behaviour(errors=share), onset=onset, seconds=onset + HALF_HOUR)
        return Case(scenario, hold, limit_of(share, 0.001))

    def slower(factor: float, pods: int, cached: float = 0.0, median: float = MEDIAN) -> Case:
        """With so many pods in each arm. What they differ by hides a smaller difference, however many requests."""
        more = f", {100 * cached:.0f} % cached in production" if cached else ""
        name = f"latency +{100 * (factor - 1):.0f} %, {pods} {'pods' if pods > 1 else 'pod'} in each arm{more}"
        scenario = Scenario(name, Behaviour(slower=factor), stable_pods=10 * pods, cached=cached, median=median)
        return Case(scenario, hold, limit_of_mean(factor, pods, median), 1.0 if pods == 1 else 0.3, bounded=pods < MANY)

    tail = Behaviour(tail=0.02)
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
        # A fifth of the other rows' 24 ms is less than minDifference.
        slower(1.2, MANY, median=0.1),
        slower(1.5, 6),
        slower(2.0, 1),
        slower(3.0, 1),
        slower(3.0, 1, cached=0.6),
        Case(Scenario("tail: 2 % of requests +300 ms", tail), hold, limit_of_bins(tail)),
        Case(
            Scenario("class mix moved by 10 points", Behaviour(mix=mix), seconds=2 * HALF_HOUR), hold, limit_of_mix(mix)
        ),
        # Nothing can be known before the first label: its delay is added to the limit.
        Case(labels, hold, limit_of(0.06, 0.04, share, WEIGHT), rollouts=0.4),
    ]


def at_the_margin() -> Sequence[tuple[str, Case]]:
    """Canaries that are worse by exactly the margin at the last step, and the metric that must not promote them."""
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
class DurationCase:
    """A healthy rollout and the bounds of its duration in minutes, to the last step and to its end."""

    scenario: Scenario
    plan: Plan = field(default_factory=Plan)
    minutes: float = 2.0
    minutes_to_promotion: float = 3.1
    """With the last step, in which a control group is held back, and its minimum duration."""


def durations() -> Sequence[DurationCase]:
    """Durations from the first request to all of the traffic."""
    return [
        DurationCase(Scenario("rollout, 100 requests/s", seconds=HALF_HOUR)),
        DurationCase(Scenario("rollout, 100 requests/s, stable has 60 % cached", cached=0.6, seconds=HALF_HOUR)),
        DurationCase(
            Scenario("rollout, 1 request/s", rate=1.0, seconds=TWO_HOURS), minutes=35.0, minutes_to_promotion=60.0
        ),
    ]


def limit_of(p_c: float, p_s: float, share: float = 1.0, other: float = 1 - WEIGHT) -> float:
    """log(1/alpha) / I in seconds, for a rate that is the same under the hypothesis.

    `share` of the requests tell; `other` is the part of them that the canary is compared with.
    """
    return seconds_to_detect(ALPHA, information(100 * WEIGHT * share, 100 * other * share, p_c, p_s))


def limit_of_bins(canary: Behaviour) -> float:
    """The limit at the histogram's bound with the most information; the control group has as many requests.

    Beyond a bound against the bound from which the tolerated slowness leads there. Like every limit of durations it
    begins when the pods have warmed up.
    """
    idle = 1.0 + IDLE_SLOWER * math.exp(-100 * WEIGHT / IDLE_RATE)
    slow_c, slow_s = (
        np.append(1.0, 1 - np.cumsum(bins_of(replace(behaviour, slower=idle)))[:-1])
        for behaviour in (canary, Behaviour())
    )
    factor = math.exp(tolerated(1))
    per_second = 0.0
    for at, bound in enumerate(BOUNDS, start=1):
        origin = sum(other <= min(bound / factor, bound - MIN_DIFFERENCE) for other in BOUNDS)
        if slow_c[at] > slow_s[origin] and origin:
            arm = 100 * WEIGHT
            per_second = max(per_second, information(arm, arm, float(slow_c[at]), float(slow_s[origin])))
    return WARM_UP + seconds_to_detect(ALPHA, per_second)


def tolerated(pods: int, median: float = MEDIAN) -> float:
    """Logarithm of the slowness that is not rolled back: the margin's part, and what pods that differ for good hide."""
    mean = median * math.exp(SIGMA**2 / 2)
    margin = max(math.log1p((MAX_SLOWER - 1.0) * ROLLBACK_PART), math.log1p(MIN_DIFFERENCE / mean))
    return margin + ROLLBACK_DEVIATIONS * Scenario("").differ * math.sqrt(2.0 / pods)


def limit_of_mean(factor: float, pods: int, median: float = MEDIAN) -> float:
    """The limit of the mean durations of two arms with so many pods each (F12), after they have warmed up.

    Each interval is one normal value: pods wobble, and single requests vary.
    """
    requests = 100 * WEIGHT * INTERVAL
    variance = 2.0 * Scenario("").wobble ** 2 / pods + (math.exp(SIGMA**2) - 1.0) * 2.0 / requests
    beyond = max(math.log(factor) - tolerated(pods, median), 0.0)
    return WARM_UP + seconds_to_detect(ALPHA, beyond**2 / (2.0 * variance) / INTERVAL)


def limit_of_mix(mix: tuple[float, ...]) -> float:
    """The limit of the class with the most information, against the shift that is tolerated."""
    per_second = max(
        information(100 * WEIGHT, 100 * (1 - WEIGHT), c, s, math.copysign(ROLLBACK_SHIFT, c - s))
        for c, s in zip(mix, MIX, strict=True)
        if abs(c - s) > ROLLBACK_SHIFT
    )
    return seconds_to_detect(ALPHA, per_second)


def delay_bound(case: Case) -> float:
    """Seconds: twice the limit and one `rollout.interval` of 10 s, after the delay of the labels."""
    return case.scenario.labels_late + 2 * case.limit + 10.0
