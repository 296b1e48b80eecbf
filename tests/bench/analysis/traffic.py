"""Simulated traffic: counts of every pod, interval by interval, for many rollouts at once.

Durations are what the local cluster shows: pods of one version differ, for good and from moment to moment; a pod with
little load is slower than a busy one, and a new one slower than an old one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import erf, exp, expm1, sqrt
from typing import NamedTuple

import numpy as np

from iris_operator.analysis.arrays import POD_VARIANCE, IntervalArrays, MeanDurations, RevisionArrays
from iris_operator.analysis.evidence.logspace import Bools, Floats

# As often as the operator judges a canary that has a share.
INTERVAL = 5.0
# The service's default.
BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.035, 0.05, 0.075),
    *(0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1.0, 2.5, 5.0),
)
MEDIAN, SIGMA = 0.020, 0.6
MIX = (0.34, 0.33, 0.33)
CACHED_FASTER = 0.2
TAIL_SECONDS = 0.3
# Fitted to pods of one version on the local cluster: 2.6-3.2 ms at 30 requests/s each, 5.1-7.2 ms at 6.
IDLE_SLOWER, IDLE_RATE = 1.6, 8.0
# A new pod is this much slower at first, and less so with this time constant in seconds.
NEW_SLOWER, NEW_SECONDS = 0.5, 15.0
# What a pod answers in so many seconds after its first request is no evidence about durations (rollout.warmUp).
WARM_UP = 30.0
_TABLE = np.linspace(-8.0, 8.0, 4001)
_NORMAL = np.array([0.5 * (1.0 + erf(value / sqrt(2.0))) for value in _TABLE])


def steady(_second: float) -> float:
    """A constant rate."""
    return 1.0


@dataclass(frozen=True)
class Behaviour:
    """The behaviour of one revision."""

    errors: float = 0.001
    slower: float = 1.0
    """Factor on every duration."""
    tail: float = 0.0
    """Share of requests that take 300 ms longer."""
    mix: tuple[float, ...] = MIX
    wrong: float = 0.04
    starts_slow: float = 1.0
    """Factor on the durations in the first 30 seconds of the pods."""
    refuses: float = 0.0
    """Share of requests answered with a 4xx code."""


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
    """Factor on the rate, by second."""
    shared_errors: Callable[[float], float] = lambda _second: 0.0
    """Share of the requests of both that fail in addition, by second."""
    burst: float = 0.0
    """Coefficient of variation of the rate from interval to interval."""
    noise: float = 0.0
    """Coefficient of variation of the error rate between pods, drawn for every pod every `noise_lasts` seconds."""
    noise_lasts: float = INTERVAL
    stable_pods: int = 10
    differ: float = 0.05
    """Standard deviation of the logarithm of the durations between pods that lasts."""
    wobble: float = 0.05
    """Of each pod from interval to interval."""
    control: bool = True
    """Is there a control group?"""
    labels: float = 0.0
    """Share of the requests that get a label, `labels_late` seconds later."""
    labels_late: float = 0.0
    labels_late_right: float | None = None
    """Where the labels of right answers come later than those of wrong ones: after so many seconds."""
    cached: float = 0.0
    """Share of production's requests that its cache answers, in a fifth of the time."""
    warms: float = 600.0
    """Seconds in which the caches of new pods, empty at first, reach two thirds of that share."""
    seconds: float = 1800.0
    median: float = MEDIAN
    sigma: float = SIGMA


class Arms(NamedTuple):
    """Numbers of pods by rollout, and the share of all requests that reaches each group."""

    canary: Floats
    control: Floats
    canary_share: Floats
    control_share: Floats


def arms_at(weight: Floats, capacity: int, *, control: bool) -> Arms:
    """The arms of a step, as the operator sizes them."""
    canary = np.maximum(1.0, np.ceil(np.round(capacity * weight, 9)))
    if not control:
        return Arms(canary, 0.0 * canary, weight, 0.0 * weight)
    rest = np.floor(canary * (1.0 - weight) / np.maximum(weight, 1e-9) + 1e-9)
    many = np.where(weight <= 0.5, canary, np.where(weight < 1.0, np.maximum(1.0, rest), np.maximum(1.0, canary // 4)))
    both = np.minimum(1.0, weight * (canary + many) / canary)
    return Arms(canary, many, both * canary / (canary + many), both * many / (canary + many))


def bins_of(behaviour: Behaviour, median: float = MEDIAN, sigma: float = SIGMA) -> Floats:
    """Probabilities of the histogram's bins."""
    return _bins(np.array(behaviour.slower), behaviour.tail, median, sigma)


def _bins(factor: Floats, tail: float, median: float, sigma: float) -> Floats:
    """Probabilities of the bins along a last axis, with durations times `factor`."""

    def below(bounds: Floats) -> Floats:
        position = np.log(np.maximum(bounds, 1e-9) / (median * factor[..., None])) / sigma
        return np.where(bounds > 0, np.interp(position, _TABLE, _NORMAL), 0.0)

    bounds = np.array(BOUNDS)
    body = (1 - tail) * below(bounds) + tail * below(bounds - TAIL_SECONDS)
    edge = np.ones((*factor.shape, 1))
    return np.asarray(np.maximum(np.diff(np.concatenate([0 * edge, body, edge], axis=-1), axis=-1), 0.0))


class Simulation:
    """Draws the counts of many rollouts. The weight may differ from rollout to rollout."""

    def __init__(self, scenario: Scenario, rollouts: int, seed: int) -> None:
        self.scenario = scenario
        self.rollouts = rollouts
        self._rng = np.random.default_rng(seed)
        self._noise: Floats = np.ones((rollouts, 0))
        self._noise_until = -np.inf
        self._from_cache = bins_of(Behaviour(slower=CACHED_FASTER), scenario.median, scenario.sigma)
        self._late: list[tuple[float, list[Floats]]] = []
        self._late_right: list[tuple[float, list[Floats]]] = []
        # By group: production, canary, control; the last two have as many pods as production at most.
        self._lasting = self._rng.normal(0.0, scenario.differ, (3, rollouts, scenario.stable_pods + 1))

    def history(self, intervals: int = 30) -> Iterator[IntervalArrays]:
        """Intervals of stable alone, before the canary gets a request: the baseline."""
        none, all_traffic = np.zeros(self.rollouts), np.full(self.rollouts, 1e-5)
        for interval in range(-intervals, 0):
            yield self.interval(interval * INTERVAL, none, all_traffic, none > 0)

    def interval(self, start: float, weight: Floats, next_share: Floats, step_changed: Bools) -> IntervalArrays:
        """Counts of [start, start + INTERVAL) with the canary at `weight`."""
        scenario, rollouts, many = self.scenario, self.rollouts, self.scenario.stable_pods
        requests = scenario.rate * scenario.load(start) * INTERVAL * np.ones(rollouts)
        if scenario.burst:
            shape = scenario.burst**-2
            requests = requests * self._rng.gamma(shape, 1 / shape, rollouts)
        behaviour = scenario.canary if start >= scenario.onset else scenario.stable
        arms = arms_at(weight, many, control=scenario.control)
        rest = np.maximum(1.0 - arms.canary_share - arms.control_share, 0.0)
        groups = [
            (scenario.stable, np.full(rollouts, float(many)), rest, np.inf),
            (behaviour, arms.canary, arms.canary_share, max(start, 0.0)),
            (scenario.stable, arms.control, arms.control_share, max(start, 0.0)),
        ]
        noise = self._noisy(start)
        pods = [
            self._pods(at, start, requests * share, number, version, noise[at], age)
            for at, (version, number, share, age) in enumerate(groups)
        ]
        (production, usual), (canary_pods, of_canary), (control_pods, of_control) = pods
        canary, control = _sum_of(canary_pods), _sum_of(control_pods)
        stable = _added(_sum_of(production), control)
        canary, stable, control = self._label(start, canary, stable, control, behaviour)
        # Neither classes nor labels differ from pod to pod here.
        between = _beside(production, control_pods)._replace(classes=None, labelled=None, wrong=None)
        seconds_s, arm = (of_control, control) if scenario.control else (usual, stable)
        groups_seconds = [(production, usual), (canary_pods, of_canary), (control_pods, of_control)]
        means = _means(canary.bins, of_canary.sum(axis=1), arm.bins, seconds_s.sum(axis=1))
        return IntervalArrays(
            canary=canary,
            stable=stable,
            control=control if scenario.control else None,
            control_pods=arms.control if scenario.control else None,
            pods=between,
            canary_pods=arms.canary,
            stable_pods=many + arms.control,
            next_share=next_share,
            step_changed=step_changed,
            means=means._replace(spread=_spread(groups_seconds)),
        )

    def _noisy(self, start: float) -> Floats:
        """Factors on the error rate of each pod, by group."""
        many = self.scenario.stable_pods + 1
        if not self.scenario.noise:
            return np.ones((3, self.rollouts, many))
        if start >= self._noise_until:
            shape = self.scenario.noise**-2
            self._noise = self._rng.gamma(shape, 1 / shape, (3, self.rollouts, many))
            self._noise_until = start + self.scenario.noise_lasts
        return self._noise

    def _pods(
        self, group: int, start: float, requests: Floats, number: Floats, version: Behaviour, noise: Floats, age: float
    ) -> tuple[RevisionArrays, Floats]:
        """Counts by pod, and the sums of their durations in seconds."""
        scenario, rng = self.scenario, self._rng
        slots = scenario.stable_pods + (1 if group else 0)
        used = np.arange(slots) < number[:, None]
        expected = np.where(used, requests[:, None] / np.maximum(number, 1.0)[:, None], 0.0)
        new = 1.0 + NEW_SLOWER * exp(-age / NEW_SECONDS) if np.isfinite(age) else 1.0
        idle = 1.0 + IDLE_SLOWER * np.exp(-expected / INTERVAL / IDLE_RATE)
        own = self._lasting[group][:, :slots] + rng.normal(0.0, scenario.wobble, expected.shape)
        late = version.starts_slow if age < WARM_UP else 1.0
        factor = version.slower * late * new * idle * np.exp(own)
        cached = scenario.cached if group == 0 else scenario.cached * -expm1(-max(start, 0.0) / scenario.warms)
        bins = rng.poisson(
            (expected * (1 - cached))[..., None] * _bins(factor, version.tail, scenario.median, scenario.sigma)
        )
        seconds = self._seconds(bins.sum(axis=-1), factor, version.tail)
        tiers = None
        if scenario.cached:
            # Answers from the cache take as long in both revisions.
            hits = rng.poisson((expected * cached)[..., None] * self._from_cache)
            tiers = np.stack([hits, bins], axis=-2).astype(float)
            seconds = seconds + self._seconds(hits.sum(axis=-1), np.full(factor.shape, CACHED_FASTER), 0.0)
            bins = bins + hits
        total = bins.sum(axis=-1)
        fails = version.errors * noise[:, :slots] + scenario.shared_errors(start)
        errors = rng.binomial(total, np.clip(fails, 0, 1))
        counts = RevisionArrays(
            requests=total.astype(float),
            errors=errors.astype(float),
            refused=rng.binomial(total - errors, version.refuses).astype(float),
            failures=rng.binomial(errors, 0.5).astype(float),
            bins=bins.astype(float),
            tiers=tiers,
            classes=rng.multinomial(total - errors, version.mix).astype(float),
            labelled=np.zeros(total.shape) if scenario.labels else None,
            wrong=np.zeros(total.shape) if scenario.labels else None,
        )
        return counts, seconds

    def _seconds(self, requests: Floats, factor: Floats, tail: float) -> Floats:
        """The sum of so many log-normal durations: gamma, with their mean and variance."""
        sigma = self.scenario.sigma
        mean = self.scenario.median * factor * exp(sigma**2 / 2)
        variance = mean**2 * (exp(sigma**2) - 1.0) + tail * (1 - tail) * TAIL_SECONDS**2
        mean = mean + tail * TAIL_SECONDS
        shape = np.maximum(requests * mean**2 / variance, 1e-9)
        return np.where(requests > 0, self._rng.gamma(shape, variance / mean), 0.0)

    def _label(
        self, start: float, canary: RevisionArrays, stable: RevisionArrays, control: RevisionArrays, version: Behaviour
    ) -> tuple[RevisionArrays, RevisionArrays, RevisionArrays]:
        if not self.scenario.labels:
            return canary, stable, control
        rng = self._rng
        drawn: list[Floats] = []
        revisions = (
            (canary, version.wrong),
            (stable, self.scenario.stable.wrong),
            (control, self.scenario.stable.wrong),
        )
        for revision, wrong in revisions:
            labelled = rng.binomial(revision.requests.astype(int), self.scenario.labels)
            wrongly = rng.binomial(labelled, wrong)
            drawn += [(labelled - wrongly).astype(float), wrongly.astype(float)]
        late, right = self.scenario.labels_late, self.scenario.labels_late_right
        self._late.append((start + late, drawn))
        self._late_right.append((start + (late if right is None else right), drawn))
        wrongs, rights = (_due(queue, start, self.rollouts) for queue in (self._late, self._late_right))
        canary, stable, control = (
            of._replace(labelled=rights[2 * at] + wrongs[2 * at + 1], wrong=wrongs[2 * at + 1])
            for at, of in enumerate((canary, stable, control))
        )
        return canary, stable, control


def without_durations(arrays: IntervalArrays) -> IntervalArrays:
    """The interval as it is measured while the pods of both arms warm up."""

    def cold(of: RevisionArrays) -> RevisionArrays:
        tiers = None if of.tiers is None else 0.0 * of.tiers
        return of._replace(bins=None if of.bins is None else 0.0 * of.bins, tiers=tiers)

    means = arrays.means and arrays.means._replace(totals=0.0 * arrays.means.totals, spread=0.0 * arrays.means.spread)
    control = None if arrays.control is None else cold(arrays.control)
    return replace(arrays, canary=cold(arrays.canary), control=control, means=means)


def _due(queue: list[tuple[float, list[Floats]]], now: float, rollouts: int) -> list[Floats]:
    """Right and wrong answers whose labels arrive now: of the canary, of stable, of the control group."""
    return queue.pop(0)[1] if queue[0][0] <= now else [np.zeros(rollouts)] * 6


def _means(bins_c: Floats | None, of_c: Floats, bins_s: Floats | None, of_s: Floats) -> MeanDurations:
    assert bins_c is not None, "simulated"
    assert bins_s is not None, "simulated"
    n_c, n_s = bins_c.sum(axis=1), bins_s.sum(axis=1)
    middles = np.array([BOUNDS[0] / 2, *np.sqrt(np.array(BOUNDS[:-1]) * np.array(BOUNDS[1:])), BOUNDS[-1] * 1.5])
    both = bins_c + bins_s
    mean = (both * middles).sum(axis=1) / np.maximum(n_c + n_s, 1.0)
    second = (both * middles**2).sum(axis=1) / np.maximum(n_c + n_s, 1.0)
    dispersion = np.maximum(0.25, second / np.maximum(mean, 1e-9) ** 2 - 1.0)
    return MeanDurations(np.stack([of_c, n_c, of_s, n_s], axis=1), dispersion, np.zeros((len(n_c), 2)))


def _spread(groups: list[tuple[RevisionArrays, Floats]]) -> Floats:
    """Squares of the differences between pods of one group and their degrees of freedom; see `build_means`."""
    squares, freedom = np.zeros(len(groups[0][1])), np.zeros(len(groups[0][1]))
    for counts, seconds in groups:
        n = counts.requests
        use = n >= 10
        value = np.log(np.maximum(seconds, 1e-9) / np.maximum(n, 1.0))
        weight = np.where(use, 1.0 / (POD_VARIANCE + (exp(SIGMA**2) - 1.0) / np.maximum(n, 1.0)), 0.0)
        total = np.maximum(weight.sum(axis=1), 1e-12)
        center = (weight * value).sum(axis=1) / total
        several = use.sum(axis=1) > 1
        squares += np.where(several, (weight * (value - center[:, None]) ** 2).sum(axis=1), 0.0)
        freedom += np.where(several, use.sum(axis=1) - 1.0, 0.0)
    return np.stack([squares, freedom], axis=1)


def _sum_of(pods: RevisionArrays) -> RevisionArrays:
    requests, errors, *others = pods
    return RevisionArrays(
        requests.sum(axis=1), errors.sum(axis=1), *[None if value is None else value.sum(axis=1) for value in others]
    )


def _beside(one: RevisionArrays, other: RevisionArrays) -> RevisionArrays:
    """The pods of both along axis 1."""
    requests, errors, *others = [
        None if a is None or b is None else np.concatenate([a, b], axis=1) for a, b in zip(one, other, strict=True)
    ]
    assert requests is not None, "counted"
    assert errors is not None, "counted"
    return RevisionArrays(requests, errors, *others)


def _added(one: RevisionArrays, other: RevisionArrays) -> RevisionArrays:
    requests, errors, *others = [None if a is None or b is None else a + b for a, b in zip(one, other, strict=True)]
    assert requests is not None, "counted"
    assert errors is not None, "counted"
    return RevisionArrays(requests, errors, *others)
