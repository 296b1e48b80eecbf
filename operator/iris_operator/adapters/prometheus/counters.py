"""From the raw counters of pods to what each revision did in an interval.

Never `increase()` or `rate()`: they extrapolate, and the statistics need the integers that happened.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import TypeVar

from iris_operator.adapters.prometheus.client import Sample, Series
from iris_operator.analysis.counts import Bin, RequestCounts
from iris_operator.engine.ports import MetricsUnavailable

REQUESTS = "inference_requests_total"
DURATIONS = "inference_request_duration_seconds_bucket"
FAILURES = "model_inference_failures_total"
PREDICTIONS = "model_predictions_total"
FEEDBACK = "model_feedback_total"
FEATURES = "model_feature_values_total"
FAMILIES: Mapping[str, tuple[str, ...]] = {
    REQUESTS: ("code",), DURATIONS: ("le", "cache"), FAILURES: ("reason",), PREDICTIONS: ("class",),
    FEEDBACK: ("outcome",), FEATURES: ("feature", "up_to", "training_share"),
}  # fmt: skip
"""The metrics of the service that are judged or reported, and the labels that tell each one's counters apart."""

# In place of a label that a counter has not.
UNKNOWN = "unknown"
# Of requests that no tier of the cache answered alone.
NO_TIER = "none"

Name = TypeVar("Name", str, float, Bin, tuple[str, ...])
Key = tuple[str, tuple[str, ...]]
"""Metric and labels of a counter."""


@dataclass(frozen=True)
class Span:
    """The interval (since, until], in seconds since 1970, and how old a pod's newest sample may be at its end."""

    since: float
    until: float
    max_age: float


def counts_of(series: Iterable[Series], must: Collection[str], span: Span) -> RequestCounts | None:
    """What a revision did, from all series of it; None without any.

    `must` names the pods that must have been scraped. What pods did that have gone since is counted, too.

    Raises:
        MetricsUnavailable: a pod was not scraped, or is scraped twice.
    """
    pods = by_pod(series, FAMILIES)
    for pod in must:
        _refuse_unseen(pod, pods.get(pod, {}), span)
    if not pods:
        return None
    return _sum([_counts(growths(counters, span)) for _, counters in sorted(pods.items())])


def grown(samples: Iterable[Sample], since: float, until: float, pod_seen: float) -> int:
    """By how much a counter grew in (since, until], resets of the process included.

    The baseline is the last sample at or before `since`. A series that begins later than its pod's first (a label
    seen for the first time) began at 0; a pod's own first sample is a baseline, what it counted before is not known.
    """
    last: float | None = None
    growth = 0.0
    for moment, value in samples:
        if moment > until:
            break
        if moment > since:
            if last is None:
                last = 0.0 if moment > pod_seen else value
            growth += value - last if value >= last else value
        last = value
    return round(growth)


def by_pod(series: Iterable[Series], families: Mapping[str, tuple[str, ...]]) -> dict[str, dict[Key, list[Sample]]]:
    """The samples of each pod's counters; `families` are the metrics that are wanted, as in `FAMILIES`.

    Raises:
        MetricsUnavailable: a pod is scraped twice.
    """
    pods: dict[str, dict[Key, list[Sample]]] = {}
    for one in series:
        labels = families.get(one.labels.get("__name__", ""))
        if labels is None or not one.samples:
            continue
        counters = pods.setdefault(one.labels.get("pod", ""), {})
        key = (one.labels["__name__"], tuple([one.labels.get(label, UNKNOWN) for label in labels]))
        counters[key] = _joined(counters[key], one) if key in counters else list(one.samples)
    return pods


def growths(counters: Mapping[Key, list[Sample]], span: Span) -> dict[str, dict[tuple[str, ...], int]]:
    """By how much each of a pod's counters grew, by metric and labels."""
    first = min(samples[0][0] for samples in counters.values())
    found: dict[str, dict[tuple[str, ...], int]] = {}
    for (name, labels), samples in counters.items():
        found.setdefault(name, {})[labels] = grown(samples, span.since, span.until, first)
    return found


def by_single_label(
    grew: Mapping[str, Mapping[tuple[str, ...], int]], families: Mapping[str, tuple[str, ...]]
) -> dict[str, dict[str, int]]:
    """The growth of those metrics whose counters one label tells apart, by its value."""
    return {
        name: {label: count for (label,), count in of.items()} for name, of in grew.items() if len(families[name]) == 1
    }


def by_tier(durations: Mapping[tuple[str, ...], int]) -> dict[str, dict[float, int]]:
    """A histogram's buckets by bound, for each tier of the cache, from its counters by both labels."""
    tiers: dict[str, dict[float, int]] = {}
    for (bound, tier), count in durations.items():
        tiers.setdefault(tier, {})[float(bound.replace("+Inf", "inf"))] = count
    return tiers


def cached_of(tiers: Mapping[str, Mapping[float, int]]) -> Mapping[str, Mapping[float, int]] | None:
    """Without the requests that no tier answered alone; None for a service that does not tell."""
    return {tier: of for tier, of in tiers.items() if tier != NO_TIER} if tiers and UNKNOWN not in tiers else None


def _joined(before: list[Sample], one: Series) -> list[Sample]:
    """A pod that came back under another address has two series, one after the other; at the same time it has not."""
    first, second = sorted((before, list(one.samples)), key=lambda samples: samples[0][0])
    if second[0][0] <= first[-1][0]:
        pod = one.labels.get("pod", "")
        raise MetricsUnavailable(f"pod {pod} is scraped twice at the same time: its requests would count double")
    return first + second


def _refuse_unseen(pod: str, counters: Mapping[Key, list[Sample]], span: Span) -> None:
    seen = [samples for (name, _), samples in counters.items() if name == REQUESTS]
    newest = max((moment for samples in seen for moment, _ in samples if moment <= span.until), default=-math.inf)
    if math.isinf(newest):
        raise MetricsUnavailable(f"Prometheus has no requests of pod {pod}, which is ready")
    age = span.until - newest
    if age > span.max_age:
        raise MetricsUnavailable(f"the newest sample of pod {pod} is {age:.0f} s old (limit {span.max_age:.0f} s)")


def _counts(grew: Mapping[str, Mapping[tuple[str, ...], int]]) -> RequestCounts:
    single = by_single_label(grew, FAMILIES)
    tiers = by_tier(grew.get(DURATIONS, {}))
    at_most = total(tiers.values())
    failures, feedback = single.get(FAILURES), single.get(FEEDBACK)
    return RequestCounts(
        by_code=single.get(REQUESTS, {}),
        at_most=at_most,
        timed=at_most.get(math.inf, 0),
        cached=cached_of(tiers),
        failures=None if failures is None else sum(failures.values()),
        by_class=single.get(PREDICTIONS),
        features=_by_feature(grew[FEATURES]) if FEATURES in grew else None,
        correct=None if feedback is None else feedback.get("correct", 0),
        incorrect=None if feedback is None else feedback.get("incorrect", 0),
    )


def _by_feature(grew: Mapping[tuple[str, ...], int]) -> dict[str, dict[Bin, int]]:
    """Labels that are no numbers are left out: what is only reported must not keep the rest from being judged."""
    found: dict[str, dict[Bin, int]] = {}
    for (feature, up_to, share), count in grew.items():
        part = _bin(up_to, share)
        if part is not None:
            found.setdefault(feature, {})[part] = count
    return found


@lru_cache(maxsize=4096)
def _bin(up_to: str, share: str) -> Bin | None:
    """All pods of a revision have the same few."""
    try:
        part = Bin(float(up_to), float(share))
    except ValueError:
        return None
    return part if part.up_to > -math.inf and 0.0 <= part.training_share <= 1.0 else None


def _sum(pods: list[RequestCounts]) -> RequestCounts:
    """All pods together. What one of them does not tell is not known of the revision."""
    return RequestCounts(
        by_code=total(pod.by_code for pod in pods),
        at_most=total(pod.at_most for pod in pods),
        timed=sum(pod.timed for pod in pods),
        cached=_by_name([pod.cached for pod in pods]),
        failures=_all([pod.failures for pod in pods]),
        by_class=None if any(pod.by_class is None for pod in pods) else total(pod.by_class or {} for pod in pods),
        features=_by_name([pod.features for pod in pods]),
        correct=_all([pod.correct for pod in pods]),
        incorrect=_all([pod.incorrect for pod in pods]),
        pods=tuple(pods),
    )


def _by_name(pods: Sequence[Mapping[str, Mapping[Name, int]] | None]) -> dict[str, dict[Name, int]] | None:
    known: list[Mapping[str, Mapping[Name, int]]] = [pod for pod in pods if pod is not None]
    if len(known) != len(pods):
        return None
    return {name: total(pod.get(name, {}) for pod in known) for name in sorted({*chain(*known)})}


def total(parts: Iterable[Mapping[Name, int]]) -> dict[Name, int]:
    """All of them added up, name by name."""
    sums: dict[Name, int] = {}
    for part in parts:
        for name, count in part.items():
            sums[name] = sums.get(name, 0) + count
    return sums


def _all(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
