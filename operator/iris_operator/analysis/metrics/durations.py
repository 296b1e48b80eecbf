"""Durations: the means of both arms, and the bins of their histograms. Half of the evidence is about each."""

from __future__ import annotations

import math

import numpy as np

from iris_operator.analysis.arrays import IntervalArrays, LogEvidence, MetricUpdate, State
from iris_operator.analysis.evidence.logspace import Floats
from iris_operator.analysis.metrics.latency import LatencyBuckets
from iris_operator.analysis.metrics.mean_duration import MeanDuration, lasting_variance

_PREFIX = "mean_"


class Durations:
    """Is the canary slower, in the mean or at any bound of the histogram?"""

    def __init__(self, buckets: LatencyBuckets, mean: MeanDuration | None) -> None:
        """`mean` is None where the sums of the durations are not measured."""
        self.buckets, self.mean = buckets, mean

    def initial_state(self, releases: int) -> State:
        """See `Metric.initial_state`."""
        of_mean = self.mean.initial_state(releases) if self.mean else {}
        return {**self.buckets.initial_state(releases), **{_PREFIX + name: value for name, value in of_mean.items()}}

    def update(self, state: State, arrays: IntervalArrays) -> MetricUpdate:
        """See `Metric.update`. An interval in which both are in trouble is not judged."""
        normal = np.ones(len(arrays.step_changed), dtype=np.bool_) if arrays.shared is None else ~arrays.shared
        if self.mean is None or arrays.means is None:
            after, evidence = yield from self.buckets.update(state, arrays, normal, np.zeros(len(normal)))
            return {**state, **after}, evidence
        before = mean_state(state)
        of_mean, by_mean = self.mean.update(before, arrays, normal)
        lasting = lasting_difference(before, arrays.canary_pods, arrays.arm_pods)
        after, by_bins = yield from self.buckets.update(state, arrays, normal, lasting)
        regression = np.logaddexp(by_mean.regression, by_bins.regression) - math.log(2.0)
        noninferiority = np.minimum(by_mean.noninferiority, by_bins.noninferiority)
        merged = {**state, **after, **{_PREFIX + name: value for name, value in of_mean.items()}}
        return merged, LogEvidence(np.asarray(regression), np.asarray(noninferiority))


def mean_state(state: State) -> State:
    """The part of a state of `Durations` that is that of `MeanDuration`."""
    return {name.removeprefix(_PREFIX): value for name, value in state.items() if name.startswith(_PREFIX)}


def lasting_difference(state: State, pods_c: Floats, pods_s: Floats) -> Floats:
    """The standard deviation of the lasting difference of arms of so many pods; `state` is that of `MeanDuration`."""
    pairs = 1.0 / np.maximum(pods_c, 1.0) + 1.0 / np.maximum(pods_s, 1.0)
    return np.asarray(np.sqrt(lasting_variance(state) * pairs))
