"""From the counters of the pods that send and receive mirrored requests to the counts of both arms in an interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from iris_operator import metric_names as names
from iris_operator.adapters.prometheus.client import Sample, Series
from iris_operator.adapters.prometheus.counters import LABELS_BY_METRIC as REQUESTS
from iris_operator.adapters.prometheus.counters import (
    Key,
    Window,
    by_pod,
    by_single_label,
    by_tier,
    cached_of,
    increases,
)
from iris_operator.analysis.counts import RequestCounts, ShadowCounts
from iris_operator.engine.count_sums import add_up, sum_of_pods

_DURATIONS: Final = f"{names.SHADOW_REQUEST_DURATION}_bucket"
_SECONDS: Final = f"{names.SHADOW_REQUEST_DURATION}_sum"
# Counted by stable's pods, which send the requests: the receivers' own counters lack the answers that they never gave.
_BY_SENDER: Final[Mapping[str, tuple[str, ...]]] = {
    names.SHADOW_SENT: ("result",),
    names.SHADOW_PAIRS: ("result",),
    names.SHADOW_LABELS: ("result",),
}
# Counted by the pods of both arms: only they know how long the model took, as for their own requests.
_BY_RECEIVER: Final[Mapping[str, tuple[str, ...]]] = {
    names.SHADOW_REQUESTS: ("code",),
    _DURATIONS: ("le", "cache"),
    _SECONDS: ("cache",),
    names.SHADOW_INFERENCE_FAILURES: ("reason",),
    names.SHADOW_PREDICTIONS: ("class",),
}
LABELS_BY_METRIC: Final[Mapping[str, tuple[str, ...]]] = {**_BY_SENDER, **_BY_RECEIVER}
"""The metrics about mirrored requests, and the labels that distinguish the counters of each."""
_ALL = {**REQUESTS, **LABELS_BY_METRIC}
# A pod of the control group has the counters of a sender for both targets, too.
_RECEIVED = {**REQUESTS, **_BY_RECEIVER}
_NOT_DELIVERED: Final = ("refused", "unreachable", "dropped")
# The request was meant for another revision or came without a valid token.
_REFUSED_CODES: Final = ("401", "403", "421")


def shadow_counts(canary: str, control: str, series: Mapping[str, Sequence[Series]], window: Window) -> ShadowCounts:
    """The counts of requests that were mirrored to the revision `canary` and to its control group; `control` may be "".

    `series` are those of all revisions, by revision: the pods of all but the canary may have sent requests. A mirrored
    request that was refused, was dropped, or did not reach a pod says nothing about the version: it counts as lost and
    not as received.

    Raises:
        MetricsUnavailable: a pod is scraped twice.
    """
    senders = [each for revision, of in series.items() if revision != canary for each in of]
    sent = _sent(senders, canary, window)
    labels = sent.get(names.SHADOW_LABELS, {})
    both, only_stable, only_canary, neither = (
        labels.get(name, 0) for name in ("both", "only_stable", "only_canary", "neither")
    )
    results, pairs = sent.get(names.SHADOW_SENT, {}), sent.get(names.SHADOW_PAIRS, {})
    counts = _counts_of_arm(results, series.get(canary, ()), window)
    lost = {name: results[name] for name in _NOT_DELIVERED if results.get(name)}
    of_control = None
    if control:
        to_control = _sent(senders, control, window).get(names.SHADOW_SENT, {})
        # Stable's own answers to the same requests stand for the control group's: it is the same version.
        of_control = replace(
            _counts_of_arm(to_control, series.get(control, ()), window),
            correct=both + only_stable,
            incorrect=only_canary + neither,
        )
        lost |= {f"{name} by the control group": to_control[name] for name in _NOT_DELIVERED if to_control.get(name)}
    return ShadowCounts(
        replace(counts, correct=both + only_canary, incorrect=only_stable + neither),
        pairs.get("same", 0),
        pairs.get("different", 0),
        (both, only_stable, only_canary, neither),
        lost,
        configured=bool(results),
        control=of_control,
    )


def _sent(senders: Iterable[Series], target: str, window: Window) -> Mapping[str, Mapping[str, int]]:
    """What the senders counted about one target, by metric and result."""
    of_target = _without_other_targets(target, senders)
    # With the metrics of requests: their first sample shows since when a pod is scraped, so a later counter began at 0.
    counted = [increases(pod, counters, window).counts for pod, counters in by_pod(of_target, _ALL).items()]
    return {
        name: add_up(by_single_label(of_pod, _ALL).get(name, {}) for of_pod in counted)
        for name in _BY_SENDER
        if any(name in of_pod for of_pod in counted)
    }


def _without_other_targets(target: str, senders: Iterable[Series]) -> Iterator[Series]:
    for one in senders:
        if one.labels.get("__name__") not in _BY_SENDER or one.labels.get("canary") == target:
            yield one


def _counts_of_arm(results: Mapping[str, int], receivers: Iterable[Series], window: Window) -> RequestCounts:
    """The requests by what the senders got, and everything else by the pods that received them."""
    pods = [_received(pod, counters, window) for pod, counters in sorted(by_pod(receivers, _RECEIVED).items())]
    received = sum_of_pods(pods) if pods else RequestCounts()
    failed = results.get("failed", 0) + results.get("timeout", 0)
    return replace(received, by_code={"200": results.get("answered", 0), "500": failed})


def _received(pod: str, counters: Mapping[Key, list[Sample]], window: Window) -> RequestCounts:
    """The mirrored requests that one pod received."""
    found = increases(pod, counters, window)
    counted = by_single_label(found.counts, _ALL)
    tiers = by_tier(found.counts.get(_DURATIONS, {}))
    at_most = add_up(tiers.values())
    failures = counted.get(names.SHADOW_INFERENCE_FAILURES)
    codes = counted.get(names.SHADOW_REQUESTS, {})
    return RequestCounts(
        by_code={code: count for code, count in codes.items() if code not in _REFUSED_CODES},
        at_most=at_most,
        timed=at_most.get(math.inf, 0),
        seconds=found.seconds.get(_SECONDS),
        cached=cached_of(tiers),
        failures=None if failures is None else sum(failures.values()),
        by_class=counted.get(names.SHADOW_PREDICTIONS),
    )
