"""Simulated traffic: counts of both revisions, interval by interval, for many rollouts at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import erf, expm1, log, sqrt

import numpy as np

from iris_operator.analysis.evidence.logspace import Bools, Floats
from iris_operator.analysis.look import Look, Side

INTERVAL = 10.0
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
MEDIAN, SIGMA = 0.020, 0.6
MIX = (0.34, 0.33, 0.33)
CACHED_FASTER = 0.2


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
    cached: float = 0.0
    """Share of stable's requests that its cache answers, in a fifth of the time."""
    warms: float = 600.0
    """Seconds in which the canary's cache, empty at first, comes to know two in three of those requests."""
    seconds: float = 1800.0
    holds_at: float | None = None
    """The weight stays at this fraction: a soak, or a fault that is to be found at one weight."""


def bins_of(behaviour: Behaviour) -> Floats:
    """Chances of the histogram's bins."""

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
        self._from_cache = bins_of(Behaviour(slower=CACHED_FASTER))
        self._late: list[tuple[float, list[Floats]]] = []

    def history(self, intervals: int = 30) -> Iterator[Look]:
        """Stable alone, before the canary gets a request: what teaches the rule what to expect."""
        nobody, everybody = np.zeros(self.rollouts), np.ones(self.rollouts)
        for interval in range(-intervals, 0):
            yield self.interval(interval * INTERVAL, nobody, everybody, nobody > 0)

    def interval(self, start: float, weight: Floats, next_share: Floats, step_changed: Bools) -> Look:
        """Counts of [start, start + INTERVAL) with the canary at `weight`."""
        scenario, rollouts, many = self.scenario, self.rollouts, self.scenario.stable_pods
        requests = scenario.rate * scenario.load(start) * INTERVAL * np.ones(rollouts)
        if scenario.burst:
            shape = scenario.burst**-2
            requests = requests * self._chance.gamma(shape, 1 / shape, rollouts)
        behaviour = scenario.canary if start >= scenario.onset else scenario.stable
        shared = scenario.shared_errors(start)
        canary_pods = np.maximum(1, np.ceil(many * weight))
        noise_c, noise_s = self._noisy(start, canary_pods)
        known = scenario.cached * -expm1(-max(start, 0.0) / scenario.warms)
        canary = self._side(requests * weight, behaviour, behaviour.errors * noise_c + shared, known)
        by_pod = np.repeat((requests * (1 - weight) / many)[:, None], many, axis=1)
        pods = self._side(by_pod, scenario.stable, scenario.stable.errors * noise_s + shared, scenario.cached)
        stable = _sum_of(pods)
        canary, stable = self._label(start, canary, stable, behaviour)
        # Neither classes nor labels differ from pod to pod here.
        pods = pods._replace(classes=None, labelled=None, wrong=None)
        return Look(canary, stable, pods, canary_pods, np.full(rollouts, float(many)), next_share, step_changed)

    def _noisy(self, start: float, canary_pods: Floats) -> tuple[Floats, Floats]:
        """The factors on the error rate: of the canary (the mean of its pods), and of each of stable's pods."""
        many = self.scenario.stable_pods
        if not self.scenario.noise:
            return np.ones(self.rollouts), np.ones((self.rollouts, many))
        if start >= self._noise_until:
            shape = self.scenario.noise**-2
            self._noise = self._chance.gamma(shape, 1 / shape, (self.rollouts, 2 * many))
            self._noise_until = start + self.scenario.noise_lasts
        mine = np.arange(many) < canary_pods[:, None]
        canary = (self._noise[:, many:] * mine).sum(axis=1) / mine.sum(axis=1)
        return canary, self._noise[:, :many]

    def _side(self, requests: Floats, behaviour: Behaviour, fails: Floats, cached: float) -> Side:
        """Poisson counts with these means; `fails` is the chance of a request to fail."""
        chance = self._chance
        bins = chance.poisson(requests[..., None] * (1 - cached) * self._bins[behaviour])
        tiers = None
        if self.scenario.cached:
            # From the cache both are as fast.
            hits = chance.poisson(requests[..., None] * cached * self._from_cache)
            tiers = np.stack([hits, bins], axis=-2).astype(float)
            bins = bins + hits
        total = bins.sum(axis=-1)
        errors = chance.binomial(total, np.clip(fails, 0, 1))
        return Side(
            requests=total.astype(float),
            errors=errors.astype(float),
            failures=chance.binomial(errors, 0.5).astype(float),
            bins=bins.astype(float),
            tiers=tiers,
            classes=chance.multinomial(total - errors, behaviour.mix).astype(float),
            labelled=np.zeros(total.shape) if self.scenario.labels else None,
            wrong=np.zeros(total.shape) if self.scenario.labels else None,
        )

    def _label(self, start: float, canary: Side, stable: Side, behaviour: Behaviour) -> tuple[Side, Side]:
        if not self.scenario.labels:
            return canary, stable
        chance = self._chance
        drawn: list[Floats] = []
        for side, wrong in ((canary, behaviour.wrong), (stable, self.scenario.stable.wrong)):
            labelled = chance.binomial(side.requests.astype(int), self.scenario.labels)
            drawn += [labelled.astype(float), chance.binomial(labelled, wrong).astype(float)]
        self._late.append((start + self.scenario.labels_late, drawn))
        nothing = np.zeros(self.rollouts)
        now = self._late.pop(0)[1] if self._late[0][0] <= start else [nothing] * 4
        return (
            canary._replace(labelled=now[0], wrong=now[1]),
            stable._replace(labelled=now[2], wrong=now[3]),
        )


def _sum_of(pods: Side) -> Side:
    def add(value: Floats | None) -> Floats | None:
        return None if value is None else value.sum(axis=1)

    return Side(
        requests=pods.requests.sum(axis=1),
        errors=pods.errors.sum(axis=1),
        failures=add(pods.failures),
        bins=add(pods.bins),
        tiers=add(pods.tiers),
        classes=add(pods.classes),
        labelled=add(pods.labelled),
        wrong=add(pods.wrong),
    )
