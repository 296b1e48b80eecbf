"""From the counts of one release to the means of durations in an interval, and how much pods of one group differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from iris_operator.analysis.arrays import POD_VARIANCE, MeanDurations
from iris_operator.analysis.counts import RequestCounts

# The least squared variation of single requests.
MIN_DISPERSION = 0.25
# A request beyond the last bound is taken to be this much above it.
_BEYOND_LAST = 1.5
# Pods with fewer requests say little about how pods differ.
_MIN_REQUESTS = 10


def mean_durations(canary: RequestCounts, stable: RequestCounts, control: RequestCounts | None) -> MeanDurations:
    """The mean durations of canary and control group; of canary and stable without a control group.

    `stable.pods` ends with the control group's.
    """
    arm = stable if control is None else control
    n_c, n_s, of_c, of_s = canary.timed, arm.timed, canary.seconds or 0.0, arm.seconds or 0.0
    dispersion = max(MIN_DISPERSION, squared_variation(canary.at_most, n_c), squared_variation(arm.at_most, n_s))
    production = stable.pods if control is None else stable.pods[: len(stable.pods) - len(control.pods)]
    groups = [canary.pods, production, control.pods if control else ()]
    spread = [pod_spread(group, dispersion) for group in groups]
    return MeanDurations(
        totals=np.array([[of_c, n_c, of_s, n_s]], dtype=np.float64),
        dispersion=np.array([dispersion]),
        spread=np.array([[sum(squares for squares, _ in spread), sum(freedom for _, freedom in spread)]]),
    )


def squared_variation(at_most: Mapping[float, int], timed: int) -> float:
    """The squared coefficient of variation of single requests, about: each is in the middle of its bucket."""
    bounds = sorted(bound for bound in at_most if 0 < bound < math.inf)
    if not bounds or not timed:
        return 0.0
    middles = [bounds[0] / 2, *(math.sqrt(a * b) for a, b in pairwise(bounds))]
    cumulative = [0, *(at_most[bound] for bound in bounds), timed]
    counts = [max(0, after - before) for before, after in pairwise(cumulative)]
    values = [*middles, bounds[-1] * _BEYOND_LAST]
    total = sum(counts)
    mean = sum(n * value for n, value in zip(counts, values, strict=True)) / max(total, 1)
    second = sum(n * value * value for n, value in zip(counts, values, strict=True)) / max(total, 1)
    return second / mean**2 - 1.0 if mean > 0 else 0.0


def pod_spread(pods: Sequence[RequestCounts], dispersion: float) -> tuple[float, float]:
    """Squares of the differences of the pods' log means, and their degrees of freedom.

    In units of what requests with this dispersion and pods that vary by `POD_VARIANCE` would bring.
    """
    means = [
        (math.log(pod.seconds / pod.timed), POD_VARIANCE + dispersion / pod.timed)
        for pod in pods
        if pod.timed >= _MIN_REQUESTS and pod.seconds
    ]
    if len(means) < 2:  # noqa: PLR2004 - one pod differs from none
        return 0.0, 0.0
    weight = sum(1 / variance for _, variance in means)
    center = sum(value / variance for value, variance in means) / weight
    return sum((value - center) ** 2 / variance for value, variance in means), float(len(means) - 1)
