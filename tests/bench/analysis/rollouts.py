"""Runs a policy through many simulated rollouts of one scenario."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from bench.analysis.baselines import Policy
from bench.analysis.traffic import INTERVAL, Scenario, Simulation
from iris_operator.analysis.evidence.logspace import Floats

_BATCH_SIZE = 500


@dataclass(frozen=True)
class Plan:
    """Weights as fractions, the last one 1, and the minimum duration of each in seconds."""

    weights: tuple[float, ...] = (0.1, 0.5, 1.0)
    dwell: float = 60.0
    hold: bool = False
    """Stay at the first weight: for faults that must be found at one weight, and for soaks."""


@dataclass(frozen=True)
class Outcome:
    """By rollout: seconds until it was rolled back or promoted; infinite if it never was.

    `last_step_at` is when the last step began, in which the canary has all of the traffic but a control group. `failed`
    counts the canary's failed requests until then; `passed_at` is when it could first be promoted.
    """

    rolled_back_at: Floats
    promoted_at: Floats
    passed_at: Floats
    last_step_at: Floats
    failed: Floats


def run(make: Callable[[int], Policy], scenario: Scenario, plan: Plan, rollouts: int, seed: int) -> Outcome:
    """Simulate many rollouts, in batches, so that memory does not grow with their number."""
    parts = [
        _run(make, scenario, plan, min(_BATCH_SIZE, rollouts - start), seed + start)
        for start in range(0, rollouts, _BATCH_SIZE)
    ]
    return Outcome(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Outcome)))


def _run(make: Callable[[int], Policy], scenario: Scenario, plan: Plan, rollouts: int, seed: int) -> Outcome:
    """All rollouts in parallel; a decided one is ignored from then on."""
    simulation, policy = Simulation(scenario, rollouts, seed), make(rollouts)
    for interval in simulation.history():
        policy.observe_baseline(interval)
    weights = np.array(plan.weights)
    final = len(weights) - (1 if policy.judges_the_end else 2)
    step, since = np.zeros(rollouts, dtype=int), np.zeros(rollouts)
    rolled_back, promoted, passed, last_step = (np.full(rollouts, np.inf) for _ in range(4))
    failed, changed = np.zeros(rollouts), np.ones(rollouts, dtype=np.bool_)
    second = -INTERVAL if plan.hold else 0.0  # a held weight has warmed up when the fault begins
    while second < scenario.seconds:
        arrays = simulation.interval(second, weights[step], weights[np.minimum(step + 1, len(weights) - 1)], changed)
        second += INTERVAL
        running = np.isinf(rolled_back) & np.isinf(promoted)
        failed += np.where(running, arrays.canary.errors, 0.0)
        decision = policy.decide(arrays, second)
        rolled_back = np.where(running & decision.fails, second, rolled_back)
        passed = np.where(np.isinf(passed) & decision.passes, second, passed)
        changed = np.isinf(rolled_back) & decision.passes & (second - since >= plan.dwell) & (not plan.hold)
        last = changed & (step >= final)
        last_step = np.where(np.isinf(last_step) & changed & (step == len(weights) - 2), second, last_step)
        promoted = np.where(last & np.isinf(promoted), second, promoted)
        step = np.where(changed & ~last, step + 1, step)
        since = np.where(changed, second, since)
        if (np.isfinite(rolled_back) | np.isfinite(promoted)).all():
            break
    return Outcome(rolled_back, promoted, passed, last_step, failed)
