"""True labels that arrived at pods of another revision than the one that made the prediction.

A request with a label reaches any pod: a canary's own pods get only its share of its labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from iris_operator import metric_names as names
from iris_operator.adapters.prometheus.client import Series
from iris_operator.adapters.prometheus.counters import LABELS_BY_METRIC as ALL
from iris_operator.adapters.prometheus.counters import Window, by_pod, increases
from iris_operator.analysis.counts import RequestCounts
from iris_operator.engine.count_sums import add_up

LABELS_BY_METRIC: Mapping[str, tuple[str, ...]] = {names.FEEDBACK_RELAYED: ("made_by", "outcome")}
"""The metric, and the labels that distinguish its counters."""
# With requests: their first sample shows since when a pod is scraped, so that a later counter began at 0.
_READ = {names.REQUESTS: ALL[names.REQUESTS], **LABELS_BY_METRIC}


def with_relayed(
    counts: Mapping[str, RequestCounts], series: Mapping[str, Sequence[Series]], window: Window
) -> dict[str, RequestCounts]:
    """The counts by revision, each with the labels that pods of the others received for it.

    The counts by pod leave them out: the pod that received a label is not the one that made the prediction. For a
    revision that counts no labels itself their number stays unknown.

    Raises:
        MetricsUnavailable: a pod is scraped twice.
    """
    received = {revision: _relayed_labels(of, window) for revision, of in series.items()}
    return {
        revision: _add_labels(of, revision, [labels for receiver, labels in received.items() if receiver != revision])
        for revision, of in counts.items()
    }


def _relayed_labels(series: Sequence[Series], window: Window) -> Mapping[tuple[str, ...], int]:
    """The labels that pods of a revision received for others, by the predicting revision and the outcome."""
    if all(one.labels.get("__name__") != names.FEEDBACK_RELAYED for one in series):
        return {}
    return add_up(
        increases(pod, counters, window).counts.get(names.FEEDBACK_RELAYED, {})
        for pod, counters in by_pod(series, _READ).items()
    )


def _add_labels(
    counts: RequestCounts, revision: str, relayed: Iterable[Mapping[tuple[str, ...], int]]
) -> RequestCounts:
    if counts.correct is None or counts.incorrect is None:
        return counts
    labels = add_up(relayed)
    return replace(
        counts,
        correct=counts.correct + labels.get((revision, "correct"), 0),
        incorrect=counts.incorrect + labels.get((revision, "incorrect"), 0),
    )
