"""Counters and histograms for what happens thousands of times a second.

prometheus_client's own take a lock for each number, and a request counts in a dozen places. These are plain numbers
of one thread, the event loop's, and prometheus_client only asks for them at a scrape. A scrape that reads in between
two of them sees the one without the other, as it would with locks.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

import numpy as np
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from iris_inference.artifact import Distribution
from iris_inference.matrices import MANY, Matrix, matrix


class LoopCounter(Collector):
    """`name_total` with labels; the `values` of these that are known beforehand begin at 0."""

    def __init__(self, name: str, description: str, labels: Sequence[str], values: Iterable[tuple[str, ...]]) -> None:
        self._name = name
        self._description = description
        self._labels = tuple(labels)
        self._counts = dict.fromkeys(values, 0)

    def add(self, value: tuple[str, ...], count: int = 1) -> None:
        """Count `count` more of one value of the labels."""
        self._counts[value] = self._counts.get(value, 0) + count

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The family as Prometheus reads it."""
        family = CounterMetricFamily(self._name, self._description, labels=self._labels)
        for value, count in list(self._counts.items()):
            family.add_metric(value, count)
        yield family


class Durations:
    """What a histogram counts for one value of its labels. Seconds."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Count a duration, of so many at once."""
        self._counts[bisect_left(self._bounds, seconds)] += times
        self._sum += seconds * times

    def told(self) -> tuple[list[tuple[str, float]], float]:
        """The cumulative buckets, and the sum."""
        return _cumulative(self._bounds, self._counts), self._sum


class LoopHistogram(Collector):
    """A histogram of durations in seconds. The `values` of its labels are all known beforehand, and begin at 0."""

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
        """Where to count for one value of the labels: to be asked for once, not for each request."""
        return self._durations[value]

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The family as Prometheus reads it, with cumulative buckets."""
        family = HistogramMetricFamily(self._name, self._description, labels=self._labels)
        for value, durations in self._durations.items():
            family.add_metric(value, *durations.told())
        yield family


class FeatureHistogram(Collector):
    """How the values of each feature are distributed: `model_feature_bucket{feature,le}` for people and alerts.

    And `model_feature_values_total{feature,up_to,training_share}`, in the bins of the training data, for features of
    which it is known: not cumulative, and few, because the operator reads them in every interval. A value is looked
    for once, among the bounds of both.
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
            self._observe_many(instances)
            return
        if len(instances) >= MANY:
            self._observe_many(matrix(instances))
            return
        edges, sums = self._edges, self._sums
        for instance in instances:
            for position, counts in enumerate(self._counts):
                value = instance[position]
                counts[bisect_left(edges[position], value)] += 1
                sums[position] += value

    def _observe_many(self, instances: Matrix) -> None:
        # Sorted, each bound is looked for once instead of each value.
        columns = np.sort(instances.T)
        for position, (edges, counts, column) in enumerate(zip(self._arrays, self._counts, columns, strict=True)):
            # How many are at most each bound; a bucket is what the one before it has not.
            below = [0, *column.searchsorted(edges, "right").tolist(), len(instances)]
            # In place and at once: a scrape in between sees all of them or none.
            counts[:] = [old + upto - before for old, before, upto in zip(counts, below, below[1:], strict=False)]
            self._sums[position] += float(column.sum())

    def collect(self) -> Iterator[HistogramMetricFamily | CounterMetricFamily]:
        """The families as Prometheus reads them, of the same moment."""
        family = HistogramMetricFamily("model_feature", "Values of each feature, in centimetres.", labels=["feature"])
        values = CounterMetricFamily(
            "model_feature_values",
            "Values of each feature up to a bound and above the one before it, with their share in the training data.",
            labels=["feature", "up_to", "training_share"],
        )
        for feature, edges, counts, total in zip(self._features, self._edges, self._counts, self._sums, strict=True):
            upto = dict(_cumulative(edges, counts))
            family.add_metric([feature], [(bound, upto[bound]) for bound in _labels(self._bounds)], total)
            if trained := self._training.get(feature):
                before = 0.0
                for bound, share in zip(_labels(trained.bounds), trained.shares, strict=True):
                    values.add_metric([feature, bound, f"{share:.4g}"], upto[bound] - before)
                    before = upto[bound]
        yield family
        if values.samples:
            yield values


def _cumulative(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    return list(zip(_labels(bounds), map(float, accumulate(list(counts))), strict=True))


def _labels(bounds: Sequence[float]) -> list[str]:
    return [*map(str, bounds), "+Inf"]
