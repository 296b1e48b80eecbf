"""What the others would have decided: their rules, re-implemented from their documentation, for many rollouts at once.

Flagger (docs.flagger.app, "How it works", "Metrics analysis"), Argo Rollouts ("Analysis & progressive delivery") and a
judge like Kayenta's (spinnaker.io, "How canary judgment works"). All look at one minute at a time, as in their
examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bench.analysis.traffic import BOUNDS, INTERVAL
from iris_operator.analysis.evidence.logspace import Bools, Floats
from iris_operator.analysis.look import Look, Side

MINUTE = 60.0
# Success rate at least 99 %, 99th percentile at most 500 ms: Flagger's own example, and Argo's usual template.
MIN_SUCCESS = 0.99
MAX_P99 = 0.5


@dataclass(frozen=True)
class Answer:
    """By rollout: takes the traffic away, and lets the next step begin."""

    fails: Bools
    passes: Bools


class Policy(Protocol):
    """A rule that is told of every interval and answers after it."""

    name: str

    def learn(self, look: Look) -> None:
        """Stable alone, before the rollout."""

    def answer(self, look: Look, second: float) -> Answer:
        """The decision at the end of an interval, at `second`."""
        ...


class PerMinute:
    """Adds intervals up to minutes and judges each of these once."""

    name = ""

    def __init__(self, rollouts: int) -> None:
        self._rollouts = rollouts
        self._sums: dict[str, Floats] = {}

    def learn(self, look: Look) -> None:
        """They do not look at what was before."""

    def answer(self, look: Look, second: float) -> Answer:
        """See `Policy.answer`: between two minutes nothing is decided."""
        for name, side in (("canary", look.canary), ("stable", look.stable)):
            for kind, value in (("requests", side.requests), ("errors", side.errors), ("bins", side.bins)):
                if value is not None:
                    self._sums[name + kind] = value + self._sums.get(name + kind, np.zeros(value.shape))
        if second <= 0 or round(second / INTERVAL) % round(MINUTE / INTERVAL):
            nothing = np.zeros(self._rollouts, dtype=np.bool_)
            return Answer(nothing, nothing)
        canary, stable = (
            Side(self._sums[who + "requests"], self._sums[who + "errors"], bins=self._sums[who + "bins"])
            for who in ("canary", "stable")
        )
        self._sums = {}
        return self.judge(canary, stable)

    def judge(self, canary: Side, stable: Side) -> Answer:
        """One minute's counts."""
        raise NotImplementedError


class Flagger(PerMinute):
    """Counts failed checks over the whole rollout; the count is looked at before a run's own checks."""

    name = "Flagger"

    def __init__(self, rollouts: int, threshold: int = 5) -> None:
        super().__init__(rollouts)
        self._threshold = threshold
        self._failed = np.zeros(rollouts)

    def judge(self, canary: Side, stable: Side) -> Answer:  # noqa: ARG002 - stable is never looked at
        """A minute without requests is a failed check, like one outside the range."""
        fails = self._failed >= self._threshold
        good = within_range(canary) & (canary.requests > 0)
        self._failed = self._failed + ~good
        return Answer(fails, good & ~fails)


class Argo(PerMinute):
    """Fails with more failed measurements than its limit, or with the fifth error in a row. No data is an error."""

    name = "Argo Rollouts"

    def __init__(self, rollouts: int, failure_limit: int = 0, error_limit: int = 4) -> None:
        super().__init__(rollouts)
        self._limits = (failure_limit, error_limit)
        self._failed = np.zeros(rollouts)
        self._errors = np.zeros(rollouts)

    def judge(self, canary: Side, stable: Side) -> Answer:  # noqa: ARG002 - stable is not asked for
        """The steps of a rollout go on by time while its analysis has not failed."""
        measured = canary.requests > 0
        self._failed = self._failed + (measured & ~within_range(canary))
        self._errors = np.where(measured, 0.0, self._errors + 1)
        fails = (self._failed > self._limits[0]) | (self._errors > self._limits[1])
        return Answer(fails, ~fails)


class Kayenta(PerMinute):
    """Mann-Whitney on the minutes so far, 98 %, tolerance a quarter of the estimated shift; looked at every minute."""

    name = "like Kayenta"
    _Z = 2.326
    _TOLERANCE = 0.25
    _LONGEST = 30

    def __init__(self, rollouts: int) -> None:
        super().__init__(rollouts)
        self._series: dict[str, list[Floats]] = {"errors": [], "p99": []}
        self._other: dict[str, list[Floats]] = {"errors": [], "p99": []}

    def judge(self, canary: Side, stable: Side) -> Answer:
        """High in any metric fails: both are critical."""
        fails = np.zeros(self._rollouts, dtype=np.bool_)
        decided = False
        for name, of in (("errors", error_share), ("p99", p99)):
            self._series[name] = [*self._series[name], of(canary)][-self._LONGEST :]
            self._other[name] = [*self._other[name], of(stable)][-self._LONGEST :]
            shift = shift_above(np.stack(self._series[name], 1), np.stack(self._other[name], 1), self._Z)
            if shift is not None:
                decided = True
                lower, estimate = shift
                fails |= lower > self._TOLERANCE * np.abs(estimate)
        return Answer(fails, ~fails & decided)


def within_range(canary: Side) -> Bools:
    """Success rate and 99th percentile of a minute."""
    return np.asarray((1 - error_share(canary) >= MIN_SUCCESS) & (p99(canary) <= MAX_P99))


def error_share(side: Side) -> Floats:
    """Failed requests over all; 0 without any."""
    return np.asarray(side.errors / np.maximum(side.requests, 1.0))


def p99(side: Side) -> Floats:
    """Prometheus' histogram_quantile(0.99): linear within the bucket, the last bound beyond it."""
    if side.bins is None:
        return np.zeros(len(side.requests))
    edges = np.array([0.0, *BOUNDS])
    cumulative = np.concatenate([np.zeros((len(side.bins), 1)), side.bins.cumsum(axis=1)], axis=1)
    wanted = 0.99 * cumulative[:, -1:]
    at = np.minimum((cumulative[:, 1:] < wanted).sum(axis=1), len(BOUNDS))
    row = np.arange(len(at))
    inside = np.minimum(at, len(BOUNDS) - 1)
    width = np.maximum(cumulative[row, inside + 1] - cumulative[row, inside], 1.0)
    value = edges[inside] + (edges[inside + 1] - edges[inside]) * (wanted[:, 0] - cumulative[row, inside]) / width
    return np.where(at >= len(BOUNDS), BOUNDS[-1], value)


def shift_above(canary: Floats, stable: Floats, z: float) -> tuple[Floats, Floats] | None:
    """Mann-Whitney's lower confidence limit of the shift, and the Hodges-Lehmann estimate; None with too few."""
    n, m = canary.shape[1], stable.shape[1]
    rank = int(n * m / 2 - z * np.sqrt(n * m * (n + m + 1) / 12))
    if rank < 1:
        return None
    differences = np.sort((canary[:, :, None] - stable[:, None, :]).reshape(len(canary), -1), axis=1)
    return differences[:, rank - 1], np.median(differences, axis=1)
