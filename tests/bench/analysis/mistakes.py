"""Situations in which the rule once decided wrongly, and how often it may do so now: docs/analysis.md names each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from bench.analysis.rollouts import Outcome, Plan
from bench.analysis.traffic import Behaviour, Scenario
from iris_operator.analysis.evidence.logspace import Bools

HOUR = 3600.0
# The default steps of the resource, none with a minimum duration.
DEFAULT_STEPS = Plan((0.05, 0.25, 0.5, 1.0), dwell=0.0)


@dataclass(frozen=True)
class Mistake:
    """A situation, the wrong decision in it, and the largest share of rollouts in which it may be made."""

    scenario: Scenario
    wrong: str
    is_wrong: Callable[[Outcome], Bools]
    bound: float
    plan: Plan = DEFAULT_STEPS
    rollouts: float = 0.1
    """Factor on the usual number."""


def rolled_back(outcome: Outcome) -> Bools:
    """By rollout."""
    return np.isfinite(outcome.rolled_back_at)


def promoted(outcome: Outcome) -> Bools:
    """By rollout."""
    return np.isfinite(outcome.promoted_at)


def not_promoted(outcome: Outcome) -> Bools:
    """By rollout: rolled back or waiting for ever."""
    return ~np.isfinite(outcome.promoted_at)


def outage(second: float) -> float:
    """Half of the requests of both versions fail for twelve minutes."""
    return 0.5 if 150.0 <= second < 870.0 else 0.0


def mistakes() -> Iterator[Mistake]:
    """All of them."""
    few = Scenario("", stable_pods=1, seconds=HOUR)
    for pods in (1, 2, 3, 10):
        same = replace(few, name=f"an identical version, {pods} replicas", stable_pods=pods)
        yield Mistake(same, "rolled back", rolled_back, 0.01)
        yield Mistake(same, "not promoted in an hour", not_promoted, 0.03)
    slow_start = replace(few, canary=Behaviour(starts_slow=5.0))
    yield Mistake(replace(slow_start, name="5x slower for 30 s, then good"), "rolled back", rolled_back, 0.01)
    wobbling = replace(few, name="one pod, durations vary by 0.1 from interval to interval", wobble=0.1)
    yield Mistake(wobbling, "rolled back", rolled_back, 0.01)
    failing = replace(few, name="one pod, errors vary by 1.5 from interval to interval", noise=1.5)
    yield Mistake(failing, "rolled back", rolled_back, 0.03, Plan((0.1, 0.5, 1.0), dwell=HOUR / 3))
    for rate in (5.0, 20.0, 100.0, 300.0):
        worse = replace(few, name=f"errors 0.1 -> 1 %, {rate:g} requests/s", canary=Behaviour(errors=0.01), rate=rate)
        yield Mistake(replace(worse, seconds=3 * HOUR), "promoted", promoted, 0.05)
    late = replace(few, name="5 % errors from the last step on", canary=Behaviour(errors=0.05), onset=60.0)
    yield Mistake(late, "promoted", promoted, 0.05, Plan((1.0,), dwell=600.0))
    down = replace(few, name="half of all requests fail for 12 min", rate=20.0, shared_errors=outage)
    yield Mistake(down, "rolled back", rolled_back, 0.01)
    yield Mistake(down, "promoted meanwhile", lambda of: (of.promoted_at > 150.0) & (of.promoted_at < 870.0), 0.0)
    labelled = replace(few, labels=0.2, labels_late=120.0, labels_late_right=1200.0, stable_pods=2, seconds=2 * HOUR)
    name = "wrong labels after 2 min, right ones after 20"
    yield Mistake(replace(labelled, name=name), "rolled back", rolled_back, 0.01, Plan((0.1, 1.0), hold=True))
    narrow = replace(few, median=0.024, sigma=0.1, name="24 ms +5 %, within one bucket")
    yield Mistake(replace(narrow, canary=Behaviour(slower=1.05)), "rolled back", rolled_back, 0.01)
    slower = replace(few, median=0.012, sigma=0.05, name="12 ms +50 %, within one bucket", stable_pods=12)
    yield Mistake(replace(slower, canary=Behaviour(slower=1.5)), "promoted", promoted, 0.05)
    bad_stable = replace(few, name="stable has 10 % errors, the canary 0.1 %", stable=Behaviour(errors=0.1))
    yield Mistake(bad_stable, "not promoted in an hour", not_promoted, 0.05)
    refusing = replace(few, name="30 % of answers are 4xx", canary=Behaviour(refuses=0.3))
    yield Mistake(refusing, "promoted", promoted, 0.0)
