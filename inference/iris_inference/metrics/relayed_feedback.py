"""Counts true labels that reach a pod of another revision than the one that made the prediction.

A feedback request reaches any pod: a canary's own pods receive only the labels of its share of the traffic. So the pod
that receives a label counts it, for the revision that made the prediction.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from iris_inference import metric_names

# Labels may arrive long after the predictions; the counts of old revisions need not be exposed for ever.
_MAX_REVISIONS: Final = 4


class RelayedFeedback(Collector):
    """`model_feedback_relayed_total{made_by,outcome}`; `made_by` is a revision.

    Not thread-safe: only the event loop counts, without a lock.
    """

    def __init__(self, outcomes: Sequence[str]) -> None:
        self._outcomes = tuple(outcomes)
        self._counts: dict[str, dict[str, int]] = {}

    def add(self, made_by: str, outcome: str) -> None:
        """Count one label. Only the revisions with the most recent labels are kept."""
        counts = self._counts.pop(made_by, None) or dict.fromkeys(self._outcomes, 0)
        counts[outcome] += 1
        self._counts[made_by] = counts
        while len(self._counts) > _MAX_REVISIONS:
            del self._counts[next(iter(self._counts))]

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Part of prometheus_client's Collector."""
        family = CounterMetricFamily(
            metric_names.FEEDBACK_RELAYED,
            "True labels received by this pod for predictions of other revisions, by revision.",
            labels=["made_by", "outcome"],
        )
        # A copy: the event loop may add a revision while the thread of the metrics port reads.
        for made_by, counts in list(self._counts.items()):
            for outcome, count in counts.items():
                family.add_metric([made_by, outcome], count)
        yield family
