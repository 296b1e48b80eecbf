"""From the raw counters of pods to the counts of each revision in an interval.

Never `increase()` or `rate()`: they extrapolate, and the statistics need integer counts. Nothing is counted twice or
lost: an increase begins at the newest sample at or before the end of the previous interval.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from iris_operator import metric_names as names
from iris_operator.adapters.prometheus.client import Sample, Series
from iris_operator.analysis.counts import Bin, RequestCounts
from iris_operator.engine.count_sums import add_up, sum_of_pods
from iris_operator.engine.ports import MetricsUnavailable

REQUEST_DURATION_BUCKETS: Final = f"{names.REQUEST_DURATION}_bucket"
REQUEST_DURATION_SUM: Final = f"{names.REQUEST_DURATION}_sum"
LABELS_BY_METRIC: Final[Mapping[str, tuple[str, ...]]] = {
    names.REQUESTS: ("code",),
    REQUEST_DURATION_BUCKETS: ("le", "cache"),
    REQUEST_DURATION_SUM: ("cache",),
    names.INFERENCE_FAILURES: ("reason",),
    names.PREDICTIONS: ("class",),
    names.FEEDBACK: ("outcome",),
    names.FEATURE_VALUES: ("feature", "up_to", "training_share"),
}
"""The metrics of the service that are judged or reported, and the labels that distinguish the counters of each."""

# In place of a label that a counter does not have.
UNKNOWN = "unknown"
# Of requests that no tier of the cache answered alone.
NO_TIER = "none"

# Of durations, which are left out while a pod warms up. Shadow durations are those of mirrored requests.
_DURATIONS: Final = tuple(
    f"{name}_{part}" for name in (names.REQUEST_DURATION, names.SHADOW_REQUEST_DURATION) for part in ("bucket", "sum")
)
# Sums of seconds: all other counters are of whole numbers.
_SECONDS: Final = tuple(name for name in _DURATIONS if name.endswith("_sum"))

Key = tuple[str, tuple[str, ...]]
"""Metric and labels of a counter."""


@dataclass(frozen=True)
class Window:
    """The interval (since, until], in seconds since 1970, and how old a pod's newest sample may be at its end.

    `warm_since` says by pod from when on its durations count, and `others_warm_since` so for all other pods.
    """

    since: float
    until: float
    max_age: float
    warm_since: Mapping[str, float] = field(default_factory=dict)
    others_warm_since: float = -math.inf


Pods = dict[str, dict[Key, list[Sample]]]
"""The samples of each pod's counters."""


def counts_of(series: Iterable[Series], expected_pods: Collection[str], window: Window) -> RequestCounts | None:
    """The counts of a revision, from all its series; None without any.

    `expected_pods` must have been scraped. Pods that are gone since then are counted, too.

    Raises:
        MetricsUnavailable: an expected pod was not scraped, or one is scraped twice.
    """
    pods = by_pod(series, LABELS_BY_METRIC)
    scraped_through(pods, expected_pods, window)
    return counts_of_pods(pods, window)


def scraped_through(pods: Pods, expected_pods: Collection[str], window: Window) -> float:
    """The newest moment in the window up to which each of the expected pods was scraped; the window's end without any.

    Raises:
        MetricsUnavailable: one of them has no sample up to the window's end, or none that is recent enough.
    """
    newest = [_newest_sample(pod, pods.get(pod, {}), window) for pod in expected_pods]
    return max(window.since, min(newest, default=window.until))


def counts_of_pods(pods: Pods, window: Window) -> RequestCounts | None:
    """The counts of a revision from the counters of its pods; None without any pod."""
    if not pods:
        return None
    return sum_of_pods([_counts(pod, counters, window) for pod, counters in sorted(pods.items())])


def increase(samples: Iterable[Sample], since: float, until: float, pod_first_sample: float) -> float:
    """The increase of a counter in (since, until], across restarts of its process.

    The baseline is the last sample at or before `since`. A series that begins later than its pod's first (a label
    seen for the first time) began at 0; a pod's own first sample is a baseline: what it counted before is unknown.
    """
    last: float | None = None
    total = 0.0
    for moment, value in samples:
        if moment > until:
            break
        if moment > since:
            if last is None:
                last = 0.0 if moment > pod_first_sample else value
            total += value - last if value >= last else value
        last = value
    return total


def by_pod(series: Iterable[Series], label_names: Mapping[str, tuple[str, ...]]) -> Pods:
    """The samples of each pod's counters; `label_names` has the metrics to read, as `LABELS_BY_METRIC` does.

    Raises:
        MetricsUnavailable: a pod is scraped twice.
    """
    pods: Pods = {}
    for each in series:
        labels = label_names.get(each.labels.get("__name__", ""))
        if labels is None or not each.samples:
            continue
        counters = pods.setdefault(each.labels.get("pod", ""), {})
        key = (each.labels["__name__"], tuple([each.labels.get(label, UNKNOWN) for label in labels]))
        counters[key] = _concatenate(counters[key], each) if key in counters else list(each.samples)
    return pods


@dataclass(frozen=True)
class Increases:
    """The increases of a pod's counters: counts by metric and labels, and seconds by metric over all its labels."""

    counts: Mapping[str, Mapping[tuple[str, ...], int]]
    seconds: Mapping[str, float]


def increases(pod: str, counters: Mapping[Key, list[Sample]], window: Window) -> Increases:
    """The increases of a pod's counters; those of durations without what it answered while it warmed up."""
    first, warm_since = _first_moment(counters.values()), window.warm_since.get(pod, window.others_warm_since)
    # Of a pod that has been warm for long all samples count.
    durations = _durations_since(counters, warm_since) if warm_since > first else {}
    first_warm = _first_moment(durations.values())
    counts: dict[str, dict[tuple[str, ...], int]] = {}
    seconds: dict[str, float] = {}
    for key, samples in counters.items():
        name, labels = key
        value = increase(
            durations.get(key, samples), window.since, window.until, first_warm if key in durations else first
        )
        if name in _SECONDS:
            seconds[name] = seconds.get(name, 0.0) + value
        else:
            counts.setdefault(name, {})[labels] = round(value)
    return Increases(counts, seconds)


def by_single_label(
    increases_by_metric: Mapping[str, Mapping[tuple[str, ...], int]], label_names: Mapping[str, tuple[str, ...]]
) -> dict[str, dict[str, int]]:
    """The increases of those metrics that have one distinguishing label, by its value."""
    return {
        name: {label: count for (label,), count in of.items()}
        for name, of in increases_by_metric.items()
        if len(label_names[name]) == 1
    }


def by_tier(durations: Mapping[tuple[str, ...], int]) -> dict[str, dict[float, int]]:
    """A histogram's buckets by bound, for each tier of the cache, from its counters by both labels."""
    tiers: dict[str, dict[float, int]] = {}
    for (bound, tier), count in durations.items():
        tiers.setdefault(tier, {})[float(bound.replace("+Inf", "inf"))] = count
    return tiers


def cached_of(tiers: Mapping[str, Mapping[float, int]]) -> Mapping[str, Mapping[float, int]] | None:
    """Without the requests that no tier answered alone; None for a service without the label."""
    return {tier: of for tier, of in tiers.items() if tier != NO_TIER} if tiers and UNKNOWN not in tiers else None


def _concatenate(before: list[Sample], one: Series) -> list[Sample]:
    """Two series of a pod that changed its address are consecutive; overlapping ones are two scrapes of one pod."""
    first, second = sorted((before, list(one.samples)), key=lambda samples: samples[0][0])
    if second[0][0] <= first[-1][0]:
        pod = one.labels.get("pod", "")
        raise MetricsUnavailable(f"pod {pod} is scraped twice at the same time: its requests would count double")
    return first + second


def _newest_sample(pod: str, counters: Mapping[Key, list[Sample]], window: Window) -> float:
    seen = [samples for (name, _), samples in counters.items() if name == names.REQUESTS]
    newest = max((moment for samples in seen for moment, _ in samples if moment <= window.until), default=-math.inf)
    if math.isinf(newest):
        raise MetricsUnavailable(f"Prometheus has no requests of pod {pod}, which is ready")
    age = window.until - newest
    if age > window.max_age:
        raise MetricsUnavailable(f"the newest sample of pod {pod} is {age:.0f} s old (limit {window.max_age:.0f} s)")
    return newest


def _first_moment(counters: Iterable[list[Sample]]) -> float:
    return min((samples[0][0] for samples in counters if samples), default=math.inf)


def _durations_since(counters: Mapping[Key, list[Sample]], moment: float) -> dict[Key, list[Sample]]:
    """A pod's durations without the samples before that moment: the first of the others is the baseline."""
    return {
        key: [sample for sample in samples if sample[0] >= moment]
        for key, samples in counters.items()
        if key[0] in _DURATIONS
    }


def _counts(pod: str, counters: Mapping[Key, list[Sample]], window: Window) -> RequestCounts:
    counted = increases(pod, counters, window)
    found = counted.counts
    single = by_single_label(found, LABELS_BY_METRIC)
    tiers = by_tier(found.get(REQUEST_DURATION_BUCKETS, {}))
    at_most = add_up(tiers.values())
    failures, feedback = single.get(names.INFERENCE_FAILURES), single.get(names.FEEDBACK)
    return RequestCounts(
        by_code=single.get(names.REQUESTS, {}),
        at_most=at_most,
        timed=at_most.get(math.inf, 0),
        seconds=counted.seconds.get(REQUEST_DURATION_SUM),
        cached=cached_of(tiers),
        failures=None if failures is None else sum(failures.values()),
        by_class=single.get(names.PREDICTIONS),
        features=_by_feature(found[names.FEATURE_VALUES]) if names.FEATURE_VALUES in found else None,
        correct=None if feedback is None else feedback.get("correct", 0),
        incorrect=None if feedback is None else feedback.get("incorrect", 0),
    )


def _by_feature(increases_by_labels: Mapping[tuple[str, ...], int]) -> dict[str, dict[Bin, int]]:
    """Labels that are no numbers are left out: what is only reported must not stop the judgement of the rest."""
    found: dict[str, dict[Bin, int]] = {}
    for (feature, up_to, share), count in increases_by_labels.items():
        part = _bin(up_to, share)
        if part is not None:
            found.setdefault(feature, {})[part] = count
    return found


@lru_cache(maxsize=4096)
def _bin(up_to: str, share: str) -> Bin | None:
    """Cached: all pods of a revision have the same few."""
    try:
        part = Bin(float(up_to), float(share))
    except ValueError:
        return None
    return part if part.up_to > -math.inf and 0.0 <= part.training_share <= 1.0 else None
