"""True labels that came to a pod of another revision than the one that made the prediction.

A label's request reaches any pod, as every request does: of a canary's labels its own pods get only its share of the
traffic. So whoever gets a label counts it, under the name of the revision that it is about.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

# Labels may come long after the predictions, and those of revisions that are long gone need not be scraped for ever.
_REVISIONS_KEPT: Final = 4


class RelayedLabels(Collector):
    """`model_feedback_relayed_total{made_by,outcome}`; `made_by` is a revision.

    Belongs to the event loop, which counts without a lock.
    """

    def __init__(self, outcomes: Sequence[str]) -> None:
        self._outcomes = tuple(outcomes)
        self._counts: dict[str, dict[str, int]] = {}

    def add(self, made_by: str, outcome: str) -> None:
        """Count one label. Of the revisions those are kept that labels came for last."""
        counts = self._counts.pop(made_by, None) or dict.fromkeys(self._outcomes, 0)
        counts[outcome] += 1
        self._counts[made_by] = counts
        while len(self._counts) > _REVISIONS_KEPT:
            del self._counts[next(iter(self._counts))]

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The family as Prometheus reads it."""
        family = CounterMetricFamily(
            "model_feedback_relayed",
            "True labels that came to this pod, for the revision that made the prediction.",
            labels=["made_by", "outcome"],
        )
        # At once: the loop may add a revision while the thread of the metrics reads.
        for made_by, counts in list(self._counts.items()):
            for outcome, count in counts.items():
                family.add_metric([made_by, outcome], count)
        yield family
