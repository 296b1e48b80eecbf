"""From the counters of stable's and the canary's pods to the counts of mirrored requests in an interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from iris_operator import metric_names as names
from iris_operator.adapters.prometheus.client import Series
from iris_operator.adapters.prometheus.counters import LABELS_BY_METRIC as REQUESTS
from iris_operator.adapters.prometheus.counters import (
    Increases,
    Window,
    by_pod,
    by_single_label,
    by_tier,
    cached_of,
    increases,
)
from iris_operator.analysis.counts import RequestCounts, ShadowCounts
from iris_operator.engine.count_sums import add_up

_DURATIONS: Final = f"{names.SHADOW_REQUEST_DURATION}_bucket"
_SECONDS: Final = f"{names.SHADOW_REQUEST_DURATION}_sum"
# Counted by stable's pods, which send the requests: the canary's own counters lack the answers that it never gave.
_BY_SENDER: Final[Mapping[str, tuple[str, ...]]] = {
    names.SHADOW_SENT: ("result",),
    names.SHADOW_PAIRS: ("result",),
    names.SHADOW_LABELS: ("result",),
}
# Counted by the canary's pods: only they know how long the model took, as for their own requests.
_BY_RECEIVER: Final[Mapping[str, tuple[str, ...]]] = {
    _DURATIONS: ("le", "cache"),
    _SECONDS: ("cache",),
    names.SHADOW_INFERENCE_FAILURES: ("reason",),
    names.SHADOW_PREDICTIONS: ("class",),
}
LABELS_BY_METRIC: Final[Mapping[str, tuple[str, ...]]] = {**_BY_SENDER, **_BY_RECEIVER}
"""The metrics about mirrored requests, and the labels that distinguish the counters of each."""
_ALL = {**REQUESTS, **LABELS_BY_METRIC}


def shadow_counts(
    canary: str, canary_series: Iterable[Series], stable_series: Iterable[Series], window: Window
) -> ShadowCounts:
    """The counts of requests that were mirrored to the revision `canary`, from its own series and those of stable.

    A mirrored request that was refused, was dropped, or did not reach a pod says nothing about the version: it counts
    as lost and not as received.

    Raises:
        MetricsUnavailable: a pod is scraped twice.
    """
    received_increases, sent_increases = (_increases(canary, each, window) for each in (canary_series, stable_series))
    received, sent = (by_single_label(each.counts, _ALL) for each in (received_increases, sent_increases))
    tiers = by_tier(received_increases.counts.get(_DURATIONS, {}))
    results, pairs, labels = (
        sent.get(name, {}) for name in (names.SHADOW_SENT, names.SHADOW_PAIRS, names.SHADOW_LABELS)
    )
    labelled = {name: labels.get(name, 0) for name in ("both", "only_stable", "only_canary", "neither")}
    at_most = add_up(tiers.values())
    failures = received.get(names.SHADOW_INFERENCE_FAILURES)
    counts = RequestCounts(
        by_code={"200": results.get("answered", 0), "500": results.get("failed", 0) + results.get("timeout", 0)},
        at_most=at_most,
        timed=at_most.get(math.inf, 0),
        seconds=received_increases.seconds.get(_SECONDS),
        cached=cached_of(tiers),
        failures=None if failures is None else sum(failures.values()),
        by_class=received.get(names.SHADOW_PREDICTIONS),
        correct=labelled["both"] + labelled["only_canary"],
        incorrect=labelled["neither"] + labelled["only_stable"],
    )
    in_order = (labelled["both"], labelled["only_stable"], labelled["only_canary"], labelled["neither"])
    lost = {name: results[name] for name in ("refused", "unreachable", "dropped") if results.get(name)}
    return ShadowCounts(
        counts, pairs.get("same", 0), pairs.get("different", 0), in_order, lost, configured=bool(results)
    )


def _increases(canary: str, series: Iterable[Series], window: Window) -> Increases:
    """The increase of each counter, over all pods."""
    counts: dict[str, dict[tuple[str, ...], int]] = {}
    seconds: dict[str, float] = {}
    # With the metrics of requests: their first sample shows since when a pod is scraped, so a later counter began at 0.
    for pod, counters in by_pod(_without_earlier_canaries(canary, series), _ALL).items():
        of_pod = increases(pod, counters, window)
        for name, by_labels in of_pod.counts.items():
            counts[name] = add_up([counts.get(name, {}), by_labels])
        for name, value in of_pod.seconds.items():
            seconds[name] = seconds.get(name, 0.0) + value
    return Increases(counts, seconds)


def _without_earlier_canaries(canary: str, series: Iterable[Series]) -> Iterator[Series]:
    """Without the series about earlier canaries."""
    for one in series:
        if one.labels.get("__name__") not in _BY_SENDER or one.labels.get("canary") == canary:
            yield one
