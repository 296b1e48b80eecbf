"""True labels that came to pods of other revisions than the one that made the prediction.

A label's request reaches any pod: of a canary's labels its own pods get only its share of the traffic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from iris_operator.adapters.prometheus.client import Series
from iris_operator.adapters.prometheus.counters import FAMILIES as ALL
from iris_operator.adapters.prometheus.counters import REQUESTS, Span, by_pod, growths, total
from iris_operator.analysis.counts import RequestCounts

_RELAYED = "model_feedback_relayed_total"
FAMILIES: Mapping[str, tuple[str, ...]] = {_RELAYED: ("made_by", "outcome")}
"""The metric, and the labels that tell its counters apart."""
# With requests: they tell since when a pod is scraped, and so that a later counter began at 0.
_READ = {REQUESTS: ALL[REQUESTS], **FAMILIES}


def with_relayed(
    counts: Mapping[str, RequestCounts], series: Mapping[str, Sequence[Series]], span: Span
) -> dict[str, RequestCounts]:
    """The counts by revision, each with the labels that pods of the others got for it.

    They are nobody's in the counts by pod: who got them says nothing about who made the prediction. Of a revision
    that counts no labels itself it still is not known how many there are.

    Raises:
        MetricsUnavailable: a pod is scraped twice.
    """
    got = {revision: _relayed(of, span) for revision, of in series.items()}
    return {
        revision: _with(of, revision, [labels for by, labels in got.items() if by != revision])
        for revision, of in counts.items()
    }


def _relayed(series: Sequence[Series], span: Span) -> Mapping[tuple[str, ...], int]:
    """The labels that came to the pods of a revision for others, by who made the prediction and the outcome."""
    if all(one.labels.get("__name__") != _RELAYED for one in series):
        return {}
    return total(growths(counters, span).get(_RELAYED, {}) for counters in by_pod(series, _READ).values())


def _with(counts: RequestCounts, revision: str, relayed: Iterable[Mapping[tuple[str, ...], int]]) -> RequestCounts:
    if counts.correct is None or counts.incorrect is None:
        return counts
    labels = total(relayed)
    return replace(
        counts,
        correct=counts.correct + labels.get((revision, "correct"), 0),
        incorrect=counts.incorrect + labels.get((revision, "incorrect"), 0),
    )
