"""Simulated traffic: counts of both revisions, interval by interval, for many rollouts at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from iris_operator.analysis.evidence.logspace import Floats
from iris_operator.analysis.look import Look, Side

INTERVAL = 10.0
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
MEDIAN, SIGMA = 0.020, 0.6
MIX = (0.34, 0.33, 0.33)


def steady(_second: float) -> float:
    """The same all the time."""
    return 1.0


@dataclass(frozen=True)
class Behaviour:
    """What one revision does from a moment on."""

    errors: float = 0.001
    slower: float = 1.0
    """Factor on every duration."""
    tail: float = 0.0
    """Share of requests that take 300 ms longer."""
    mix: tuple[float, ...] = MIX
    wrong: float = 0.04


@dataclass(frozen=True)
class Scenario:
    """One situation. Seconds count from the moment at which the canary gets its first request."""

    name: str
    canary: Behaviour = field(default_factory=Behaviour)
    stable: Behaviour = field(default_factory=Behaviour)
    onset: float = 0.0
    """Until then the canary behaves like stable."""
    rate: float = 100.0
    """Requests a second, of both."""
    load: Callable[[float], float] = steady
    """Factor on the rate at a second."""
    shared_errors: Callable[[float], float] = lambda _second: 0.0
    """Share of requests of both that fail on top at a second."""
    burst: float = 0.0
    """Coefficient of variation of the rate from interval to interval."""
    noise: float = 0.0
    """Coefficient of variation between pods of the error rate, drawn anew for every pod every `noise_lasts` seconds."""
    noise_lasts: float = INTERVAL
    stable_pods: int = 10
    labels: float = 0.0
    """Share of the requests that get a label, `labels_late` seconds later."""
    labels_late: float = 0.0
    seconds: float = 1800.0
    holds_at: float | None = None
    """The weight stays at this fraction: a soak, or a fault that is to be found at one weight."""


def bins_of(behaviour: Behaviour) -> Floats:
    """Chances of the histogram's bins."""
    from math import erf, log, sqrt

    def below(bound: float, factor: float) -> float:
        return 0.5 * (1 + erf(log(bound / (MEDIAN * factor)) / SIGMA / sqrt(2))) if bound > 0 else 0.0

    body = np.array([below(bound, behaviour.slower) for bound in BOUNDS])
    late = np.array([below(bound - 0.3, behaviour.slower) for bound in BOUNDS])
    cumulative = np.concatenate([[0.0], (1 - behaviour.tail) * body + behaviour.tail * late, [1.0]])
    return np.diff(cumulative)


class Simulation:
    """Draws the counts of many rollouts. The weight may differ from rollout to rollout."""

    def __init__(self, scenario: Scenario, rollouts: int, seed: int) -> None:
        self.scenario = scenario
        self.rollouts = rollouts
        self._chance = np.random.default_rng(seed)
        self._noise: Floats = np.ones((rollouts, 0))
        self._noise_until = -np.inf
        self._bins = {b: bins_of(b) for b in (scenario.canary, scenario.stable)}
        self._late: list[tuple[float, Floats, Floats, Floats, Floats]] = []

    def history(self, intervals: int = 30) -> Iterator[Look]:
        """Stable alone, before the canary gets a request: what teaches the rule what to expect."""
        nobody, everybody = np.zeros(self.rollouts), np.ones(self.rollouts)
        for interval in range(-intervals, 0):
            yield self.interval(interval * INTERVAL, nobody, everybody, nobody > 0)

    def interval(self, start: float, weight: Floats, next_share: Floats, step_changed: np.ndarray) -> Look:
        """Counts of [start, start + INTERVAL) with the canary at `weight`."""
        scenario, chance, rollouts = self.scenario, self._chance, self.rollouts
        rate = scenario.rate * scenario.load(start) * np.ones(rollouts)
        if scenario.burst:
            shape = scenario.burst**-2
            rate = rate * chance.gamma(shape, 1 / shape, rollouts)
        total = chance.poisson(rate * INTERVAL)
        n_c = chance.binomial(total, weight)
        behaviour = scenario.canary if start >= scenario.onset else scenario.stable
        shared = scenario.shared_errors(start)
        canary_pods = np.maximum(1, np.ceil(scenario.stable_pods * weight)).astype(int)
        pods_s, noisy_c, noisy_s = self._pods(start, total - n_c, canary_pods)
        fail_c = np.clip(behaviour.errors * noisy_c + shared, 0, 1)
        canary = self._side(n_c, behaviour, fail_c)
        errors_s = chance.binomial(pods_s, np.clip(scenario.stable.errors * noisy_s + shared, 0, 1))
        stable_total = pods_s.sum(axis=1)
        stable = self._side(stable_total, scenario.stable, np.zeros(rollouts), errors=errors_s.sum(axis=1))
        pods = self._spread(stable, pods_s, errors_s)
        canary, stable = self._label(start, canary, stable, behaviour)
        return Look(
            canary,
            stable,
            pods,
            canary_pods.astype(float),
            np.full(rollouts, float(scenario.stable_pods)),
            next_share,
            step_changed,
        )

    def _pods(self, start: float, stable: np.ndarray, canary_pods: np.ndarray) -> tuple[np.ndarray, Floats, Floats]:
        """Stable's requests by pod, and the factors on the error rate of the canary (mean of its pods) and of each."""
        many, chance = self.scenario.stable_pods, self._chance
        pods = chance.multinomial(stable, np.full(many, 1 / many))
        if not self.scenario.noise:
            return pods, np.ones(self.rollouts), np.ones((self.rollouts, many))
        if start >= self._noise_until:
            shape = self.scenario.noise**-2
            self._noise = chance.gamma(shape, 1 / shape, (self.rollouts, 2 * many))
            self._noise_until = start + self.scenario.noise_lasts
        mine = np.arange(many) < canary_pods[:, None]
        canary = (self._noise[:, many:] * mine).sum(axis=1) / mine.sum(axis=1)
        return pods, canary, self._noise[:, :many]

    def _side(self, total: np.ndarray, behaviour: Behaviour, fails: Floats, errors: np.ndarray | None = None) -> Side:
        chance = self._chance
        errors = chance.binomial(total, fails) if errors is None else errors
        return Side(
            requests=total.astype(float),
            errors=errors.astype(float),
            failures=chance.binomial(errors, 0.5).astype(float),
            bins=chance.multinomial(total, self._bins[behaviour]).astype(float),
            classes=chance.multinomial(total - errors, behaviour.mix).astype(float),
            labelled=np.zeros(self.rollouts) if self.scenario.labels else None,
            wrong=np.zeros(self.rollouts) if self.scenario.labels else None,
        )

    def _spread(self, stable: Side, pods: np.ndarray, errors: np.ndarray) -> Side:
        """The same requests by pod; durations and classes do not depend on the pod."""
        chance, many = self._chance, self.scenario.stable_pods
        assert stable.bins is not None and stable.classes is not None
        by_pod = [
            np.moveaxis(chance.multinomial(kind.astype(int), np.full(many, 1 / many)), -1, 1).astype(float)
            for kind in (stable.bins, stable.classes)
        ]
        return Side(
            requests=pods.astype(float), errors=errors.astype(float), failures=chance.binomial(errors, 0.5).astype(float),
            bins=by_pod[0], classes=by_pod[1],
        )  # fmt: skip

    def _label(self, start: float, canary: Side, stable: Side, behaviour: Behaviour) -> tuple[Side, Side]:
        from dataclasses import replace

        if not self.scenario.labels:
            return canary, stable
        chance, drawn = self._chance, []
        for side, wrong in ((canary, behaviour.wrong), (stable, self.scenario.stable.wrong)):
            labelled = chance.binomial(side.requests.astype(int), self.scenario.labels)
            drawn += [labelled.astype(float), chance.binomial(labelled, wrong).astype(float)]
        self._late.append((start + self.scenario.labels_late, *drawn))
        nothing = np.zeros(self.rollouts)
        now = self._late.pop(0)[1:] if self._late[0][0] <= start else (nothing,) * 4
        return (
            replace(canary, labelled=now[0], wrong=now[1]),
            replace(stable, labelled=now[2], wrong=now[3]),
        )
