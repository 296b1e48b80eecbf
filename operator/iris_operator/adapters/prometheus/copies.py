"""From the counters of stable's and the canary's pods to what came of copies of requests in an interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from iris_operator.adapters.prometheus.client import Series
from iris_operator.adapters.prometheus.counters import FAMILIES as REQUESTS
from iris_operator.adapters.prometheus.counters import Span, by_pod, by_single_label, by_tier, cached_of, growths, total
from iris_operator.analysis.counts import Copies, RequestCounts

# Counted where copies are sent. What the canary counts of its own answers lacks those that it never gave.
_SENT = "shadow_copies_total"
_PAIRS = "shadow_pairs_total"
_LABELS = "shadow_labels_total"
# Counted where they come in: only there it is known how long the model took, as for requests.
_DURATIONS = "shadow_request_duration_seconds_bucket"
_FAILURES = "shadow_inference_failures_total"
_PREDICTIONS = "shadow_predictions_total"
FAMILIES: Mapping[str, tuple[str, ...]] = {
    _SENT: ("result",), _PAIRS: ("result",), _LABELS: ("result",), _DURATIONS: ("le", "cache"), _FAILURES: ("reason",),
    _PREDICTIONS: ("class",),
}  # fmt: skip
"""The metrics about copies, and the labels that tell each one's counters apart."""
_BY_CANARY = frozenset({_SENT, _PAIRS, _LABELS})
_ALL = {**REQUESTS, **FAMILIES}


def copies_of(canary: str, theirs: Iterable[Series], stables: Iterable[Series], span: Span) -> Copies:
    """What came of copies for the revision `canary`: `theirs` are its own series, `stables` those of stable.

    A copy that was refused, was dropped, or found nobody is no news about the version, and does not count as one that
    it got.

    Raises:
        MetricsUnavailable: a pod is scraped twice.
    """
    grew = _growths(canary, theirs, span)
    got, sent = (by_single_label(each, _ALL) for each in (grew, _growths(canary, stables, span)))
    tiers = by_tier(grew.get(_DURATIONS, {}))
    results, pairs, labels = (sent.get(name, {}) for name in (_SENT, _PAIRS, _LABELS))
    right = {name: labels.get(name, 0) for name in ("both", "only_stable", "only_canary", "neither")}
    at_most = total(tiers.values())
    failures = got.get(_FAILURES)
    counts = RequestCounts(
        by_code={"200": results.get("answered", 0), "500": results.get("failed", 0) + results.get("timeout", 0)},
        at_most=at_most,
        timed=at_most.get(math.inf, 0),
        cached=cached_of(tiers),
        failures=None if failures is None else sum(failures.values()),
        by_class=got.get(_PREDICTIONS),
        correct=right["both"] + right["only_canary"],
        incorrect=right["neither"] + right["only_stable"],
    )
    in_order = (right["both"], right["only_stable"], right["only_canary"], right["neither"])
    lost = {name: results[name] for name in ("refused", "unreachable", "dropped") if results.get(name)}
    return Copies(counts, pairs.get("same", 0), pairs.get("different", 0), in_order, lost, planned=bool(results))


def _growths(canary: str, series: Iterable[Series], span: Span) -> dict[str, dict[tuple[str, ...], int]]:
    """By how much each counter grew, over all pods, by metric and labels."""
    found: dict[str, dict[tuple[str, ...], int]] = {}
    # With the families of requests: they tell since when a pod is scraped, and so that a later counter began at 0.
    for counters in by_pod(_about(canary, series), _ALL).values():
        for name, grew in growths(counters, span).items():
            found[name] = total([found.get(name, {}), grew])
    return found


def _about(canary: str, series: Iterable[Series]) -> Iterator[Series]:
    """Without what was counted of earlier canaries."""
    for one in series:
        if one.labels.get("__name__") not in _BY_CANARY or one.labels.get("canary") == canary:
            yield one
