"""Runs a policy through many simulated rollouts of one scenario."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from bench.analysis.peers import Policy
from bench.analysis.traffic import INTERVAL, Scenario, Simulation
from iris_operator.analysis.evidence.logspace import Floats

_AT_ONCE = 500


@dataclass(frozen=True)
class Plan:
    """Weights as fractions, the last one 1; and the shortest stay at each, in seconds."""

    weights: tuple[float, ...] = (0.1, 0.5, 1.0)
    dwell: float = 60.0
    hold: bool = False
    """Never goes on: for faults that are to be found at one weight, and for soaks."""


@dataclass(frozen=True)
class Outcome:
    """By rollout: seconds until the traffic was taken away, or the canary had all of it; infinite when that never was.

    `failed` counts the canary's failed requests until either; `passed_at` when it was first good enough to go on.
    """

    rolled_back_at: Floats
    promoted_at: Floats
    passed_at: Floats
    failed: Floats


def run(make: Callable[[int], Policy], scenario: Scenario, plan: Plan, rollouts: int, seed: int) -> Outcome:
    """Many rollouts, some hundred at a time, so that memory does not grow with their number."""
    parts = [
        _run(make, scenario, plan, min(_AT_ONCE, rollouts - begun), seed + begun)
        for begun in range(0, rollouts, _AT_ONCE)
    ]
    return Outcome(*(np.concatenate([getattr(part, kind.name) for part in parts]) for kind in fields(Outcome)))


def _run(make: Callable[[int], Policy], scenario: Scenario, plan: Plan, rollouts: int, seed: int) -> Outcome:
    """All rollouts in step; what a decided one still does is not looked at."""
    simulation, policy = Simulation(scenario, rollouts, seed), make(rollouts)
    for look in simulation.history():
        policy.learn(look)
    weights = np.array(plan.weights)
    step, since = np.zeros(rollouts, dtype=int), np.zeros(rollouts)
    gone, done, passed = (np.full(rollouts, np.inf) for _ in range(3))
    failed, changed = np.zeros(rollouts), np.ones(rollouts, dtype=np.bool_)
    second = -INTERVAL if plan.hold else 0.0  # a held weight has warmed up when the fault begins
    while second < scenario.seconds:
        look = simulation.interval(second, weights[step], weights[np.minimum(step + 1, len(weights) - 1)], changed)
        second += INTERVAL
        running = np.isinf(gone) & np.isinf(done)
        failed += np.where(running, look.canary.errors, 0.0)
        answer = policy.answer(look, second)
        gone = np.where(running & answer.fails, second, gone)
        passed = np.where(np.isinf(passed) & answer.passes, second, passed)
        changed = np.isinf(gone) & answer.passes & (second - since >= plan.dwell) & (not plan.hold)
        last = changed & (step == len(weights) - 2)
        done = np.where(last & np.isinf(done), second, done)
        step = np.where(changed & ~last, step + 1, step)
        since = np.where(changed, second, since)
        if (np.isfinite(gone) | np.isfinite(done)).all():
            break
    return Outcome(gone, done, passed, failed)
