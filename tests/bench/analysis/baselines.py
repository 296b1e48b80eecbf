"""The rules of other tools, re-implemented from their documentation, for many rollouts at once.

Flagger (docs.flagger.app, "How it works", "Metrics analysis"), Argo Rollouts ("Analysis & progressive delivery") and a
judge like Kayenta's (spinnaker.io, "How canary judgment works"). All judge one minute at a time, as in
their examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bench.analysis.traffic import BOUNDS, INTERVAL
from iris_operator.analysis.arrays import IntervalArrays, RevisionArrays
from iris_operator.analysis.evidence.logspace import Bools, Floats

MINUTE = 60.0
# Success rate at least 99 %, 99th percentile at most 500 ms: Flagger's own example, and Argo's usual template.
MIN_SUCCESS = 0.99
MAX_P99 = 0.5


@dataclass(frozen=True)
class PolicyDecision:
    """By rollout: roll back, and promote to the next step."""

    fails: Bools
    passes: Bools


class Policy(Protocol):
    """A rule that decides after every interval."""

    name: str
    judges_the_end: bool
    """Does the last step, with all of the traffic, end by a decision of its own?"""

    def observe_baseline(self, arrays: IntervalArrays) -> None:
        """Take an interval of stable alone, before the rollout."""

    def decide(self, arrays: IntervalArrays, second: float) -> PolicyDecision:
        """The decision at the end of an interval, at `second`."""
        ...


class PerMinute:
    """Adds up the intervals of a minute and judges each minute once."""

    name = ""
    judges_the_end = False

    def __init__(self, rollouts: int) -> None:
        self._rollouts = rollouts
        self._sums: dict[str, Floats] = {}

    def observe_baseline(self, arrays: IntervalArrays) -> None:
        """They do not use anything from before the rollout."""

    def decide(self, arrays: IntervalArrays, second: float) -> PolicyDecision:
        """See `Policy.decide`. Nothing is decided within a minute."""
        for name, counts in (("canary", arrays.canary), ("stable", arrays.stable)):
            for kind, value in (("requests", counts.requests), ("errors", counts.errors), ("bins", counts.bins)):
                if value is not None:
                    self._sums[name + kind] = value + self._sums.get(name + kind, np.zeros(value.shape))
        if second <= 0 or round(second / INTERVAL) % round(MINUTE / INTERVAL):
            nothing = np.zeros(self._rollouts, dtype=np.bool_)
            return PolicyDecision(nothing, nothing)
        canary, stable = (
            RevisionArrays(self._sums[name + "requests"], self._sums[name + "errors"], bins=self._sums[name + "bins"])
            for name in ("canary", "stable")
        )
        self._sums = {}
        return self.judge(canary, stable)

    def judge(self, canary: RevisionArrays, stable: RevisionArrays) -> PolicyDecision:
        """Judge the counts of one minute."""
        raise NotImplementedError


class Flagger(PerMinute):
    """Counts failed checks over the whole rollout; the count is compared with the threshold before the next checks."""

    name = "Flagger"

    def __init__(self, rollouts: int, threshold: int = 5) -> None:
        super().__init__(rollouts)
        self._threshold = threshold
        self._failed = np.zeros(rollouts)

    def judge(self, canary: RevisionArrays, stable: RevisionArrays) -> PolicyDecision:  # noqa: ARG002 - stable is not used
        """A minute without requests is a failed check, like one outside the range."""
        fails = self._failed >= self._threshold
        good = within_range(canary) & (canary.requests > 0)
        self._failed = self._failed + ~good
        return PolicyDecision(fails, good & ~fails)


class Argo(PerMinute):
    """Fails with more failed measurements than its limit, or with the fifth error in a row. No data is an error."""

    name = "Argo Rollouts"

    def __init__(self, rollouts: int, failure_limit: int = 0, error_limit: int = 4) -> None:
        super().__init__(rollouts)
        self._limits = (failure_limit, error_limit)
        self._failed = np.zeros(rollouts)
        self._errors = np.zeros(rollouts)

    def judge(self, canary: RevisionArrays, stable: RevisionArrays) -> PolicyDecision:  # noqa: ARG002 - stable is not used
        """The steps of a rollout follow each other by time unless its analysis fails."""
        measured = canary.requests > 0
        self._failed = self._failed + (measured & ~within_range(canary))
        self._errors = np.where(measured, 0.0, self._errors + 1)
        fails = (self._failed > self._limits[0]) | (self._errors > self._limits[1])
        return PolicyDecision(fails, ~fails)


class Kayenta(PerMinute):
    """Mann-Whitney on the minutes so far, 98 %, tolerance a quarter of the estimated shift; tested every minute."""

    name = "like Kayenta"
    _Z = 2.326
    _TOLERANCE = 0.25
    _LONGEST = 30

    def __init__(self, rollouts: int) -> None:
        super().__init__(rollouts)
        self._series: dict[str, list[Floats]] = {"errors": [], "p99": []}
        self._other: dict[str, list[Floats]] = {"errors": [], "p99": []}

    def judge(self, canary: RevisionArrays, stable: RevisionArrays) -> PolicyDecision:
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
        return PolicyDecision(fails, ~fails & decided)


def within_range(canary: RevisionArrays) -> Bools:
    """Success rate and 99th percentile of a minute."""
    return np.asarray((1 - error_share(canary) >= MIN_SUCCESS) & (p99(canary) <= MAX_P99))


def error_share(revision: RevisionArrays) -> Floats:
    """Failed requests over all; 0 without any."""
    return np.asarray(revision.errors / np.maximum(revision.requests, 1.0))


def p99(revision: RevisionArrays) -> Floats:
    """Prometheus' histogram_quantile(0.99): linear within the bucket, the last bound beyond it."""
    if revision.bins is None:
        return np.zeros(len(revision.requests))
    edges = np.array([0.0, *BOUNDS])
    cumulative = np.concatenate([np.zeros((len(revision.bins), 1)), revision.bins.cumsum(axis=1)], axis=1)
    target = 0.99 * cumulative[:, -1:]
    at = np.minimum((cumulative[:, 1:] < target).sum(axis=1), len(BOUNDS))
    row = np.arange(len(at))
    inside = np.minimum(at, len(BOUNDS) - 1)
    width = np.maximum(cumulative[row, inside + 1] - cumulative[row, inside], 1.0)
    value = edges[inside] + (edges[inside + 1] - edges[inside]) * (target[:, 0] - cumulative[row, inside]) / width
    # Rounded: of equal histograms with other totals the quantile is the same.
    return np.where(at >= len(BOUNDS), BOUNDS[-1], value).round(9)


def shift_above(canary: Floats, stable: Floats, z: float) -> tuple[Floats, Floats] | None:
    """Mann-Whitney's lower confidence limit of the shift, and the Hodges-Lehmann estimate; None with too few."""
    n, m = canary.shape[1], stable.shape[1]
    rank = int(n * m / 2 - z * np.sqrt(n * m * (n + m + 1) / 12))
    if rank < 1:
        return None
    differences = np.sort((canary[:, :, None] - stable[:, None, :]).reshape(len(canary), -1), axis=1)
    return differences[:, rank - 1], np.median(differences, axis=1)
