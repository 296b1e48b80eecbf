"""Counters and histograms without locks, for events that happen thousands of times a second.

prometheus_client's own take a lock per update, and a request updates a dozen of them. These are plain numbers that only
the event loop's thread updates, and prometheus_client reads them at a scrape. A scrape between two updates sees one
without the other, as it would with locks.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

import numpy as np
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from iris_inference import metric_names
from iris_inference.model.arrays import VECTORIZE_FROM, Matrix, to_matrix
from iris_inference.model.artifact import Distribution


class UnlockedCounter(Collector):
    """A counter with labels; the label values that are known in advance, `values`, start at 0."""

    def __init__(self, name: str, description: str, labels: Sequence[str], values: Iterable[tuple[str, ...]]) -> None:
        self._name = name
        self._description = description
        self._labels = tuple(labels)
        self._counts = dict.fromkeys(values, 0)

    def add(self, value: tuple[str, ...], count: int = 1) -> None:
        """Increment the counter of one combination of label values."""
        self._counts[value] = self._counts.get(value, 0) + count

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Part of prometheus_client's Collector."""
        family = CounterMetricFamily(self._name, self._description, labels=self._labels)
        for value, count in list(self._counts.items()):
            family.add_metric(value, count)
        yield family


class Durations:
    """A histogram's buckets and sum for one combination of label values. Seconds."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Observe a duration `times` times."""
        self._counts[bisect_left(self._bounds, seconds)] += times
        self._sum += seconds * times

    def snapshot(self) -> tuple[list[tuple[str, float]], float]:
        """The cumulative buckets, and the sum."""
        return _cumulative(self._bounds, self._counts), self._sum


class UnlockedHistogram(Collector):
    """A histogram of durations in seconds. All label values are known in advance, and start at 0."""

    def __init__(
        self,
        name: str,
        description: str,
        bounds: Sequence[float],
        labels: Sequence[str] = (),
        values: Iterable[tuple[str, ...]] = ((),),
    ) -> None:
        self._name = name
        self._description = description
        self._labels = tuple(labels)
        self._durations = {value: Durations(bounds) for value in values}

    def labels(self, *value: str) -> Durations:
        """The durations of one combination of label values; to be looked up once, not per request."""
        return self._durations[value]

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Part of prometheus_client's Collector."""
        family = HistogramMetricFamily(self._name, self._description, labels=self._labels)
        for value, durations in self._durations.items():
            family.add_metric(value, *durations.snapshot())
        yield family


class FeatureHistogram(Collector):
    """The distribution of each feature's values: `model_feature_bucket{feature,le}`, for people and alerts.

    Also `model_feature_values_total{feature,up_to,training_share}`, in the bins of the training data, for the features
    that have them: not cumulative, and few, because the operator reads them in every interval. A value is looked up
    once, among the bounds of both.
    """

    def __init__(
        self, features: Sequence[str], bounds: Sequence[float], training: Mapping[str, Distribution] | None = None
    ) -> None:
        self._features = tuple(features)
        self._bounds = tuple(bounds)
        self._training = training or {}
        self._edges = [
            sorted({*bounds, *(self._training[name].bounds if name in self._training else ())}) for name in features
        ]
        self._arrays = [np.array(edges) for edges in self._edges]
        self._counts = [[0] * (len(edges) + 1) for edges in self._edges]
        self._sums = [0.0] * len(features)

    def observe(self, instances: Sequence[Sequence[float]] | Matrix) -> None:
        """Count each value of each instance in the bucket of its feature."""
        if isinstance(instances, np.ndarray):
            self._observe_matrix(instances)
            return
        if len(instances) >= VECTORIZE_FROM:
            self._observe_matrix(to_matrix(instances))
            return
        edges, sums = self._edges, self._sums
        for instance in instances:
            for position, counts in enumerate(self._counts):
                value = instance[position]
                counts[bisect_left(edges[position], value)] += 1
                sums[position] += value

    def _observe_matrix(self, instances: Matrix) -> None:
        # Sorted, so that each bound is looked up instead of each value.
        columns = np.sort(instances.T)
        for position, (edges, counts, column) in enumerate(zip(self._arrays, self._counts, columns, strict=True)):
            # The number of values up to each bound; a bucket is the difference of two of them.
            below = [0, *column.searchsorted(edges, "right").tolist(), len(instances)]
            # In place and in one step: a scrape in between sees all of them or none.
            counts[:] = [old + up_to - before for old, before, up_to in zip(counts, below, below[1:], strict=False)]
            self._sums[position] += float(column.sum())

    def collect(self) -> Iterator[HistogramMetricFamily | CounterMetricFamily]:
        """Part of prometheus_client's Collector: both families at the same time."""
        family = HistogramMetricFamily(
            metric_names.FEATURE, "Values of each feature, in centimetres.", labels=["feature"]
        )
        values = CounterMetricFamily(
            metric_names.FEATURE_VALUES,
            "Values of each feature up to a bound and above the one before it, with their share in the training data.",
            labels=["feature", "up_to", "training_share"],
        )
        for feature, edges, counts, total in zip(self._features, self._edges, self._counts, self._sums, strict=True):
            up_to = dict(_cumulative(edges, counts))
            family.add_metric([feature], [(bound, up_to[bound]) for bound in _bound_labels(self._bounds)], total)
            if trained := self._training.get(feature):
                before = 0.0
                for bound, share in zip(_bound_labels(trained.bounds), trained.shares, strict=True):
                    values.add_metric([feature, bound, f"{share:.4g}"], up_to[bound] - before)
                    before = up_to[bound]
        yield family
        if values.samples:
            yield values


def _cumulative(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    return list(zip(_bound_labels(bounds), map(float, accumulate(list(counts))), strict=True))


def _bound_labels(bounds: Sequence[float]) -> list[str]:
    return [*map(str, bounds), "+Inf"]
