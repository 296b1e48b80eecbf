"""What is counted of copies: by the pod that sends them, and by the one that gets them.

None of it counts in the families of the users' requests: nobody waits for the answer to a copy, so it must neither look
like traffic nor, when it fails, like an outage.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final

from prometheus_client import Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from iris_inference.counters import LoopCounter
from iris_inference.matrices import Matrix
from iris_inference.records import Backlog
from iris_inference.runtime import FailureReason, Instance
from iris_inference.telemetry import PREDICTION_CODES, RECORD_RESULTS, Metrics, RequestHistogram

# A pod lives longer than a canary. The counts of those that are long gone need not be scraped for ever.
_REVISIONS_KEPT: Final = 4
# 421: the copy was meant for another revision.
NOT_LET_IN: Final = frozenset({401, 403, 421})
SHADOW_CODES: Final = (*PREDICTION_CODES, "421")


class Sent(StrEnum):
    """What became of a copy."""

    ANSWERED = "answered"
    FAILED = "failed"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    DROPPED = "dropped"


class Pair(StrEnum):
    """What the two versions made of one request. The last three: one of them, or none, did not answer."""

    SAME = "same"
    DIFFERENT = "different"
    ONLY_STABLE = "only_stable"
    ONLY_CANARY = "only_canary"
    NEITHER = "neither"


class Labelled(StrEnum):
    """Which of the two versions were right about one flower."""

    BOTH = "both"
    ONLY_STABLE = "only_stable"
    ONLY_CANARY = "only_canary"
    NEITHER = "neither"


_Result = Sent | Pair | Labelled
_FAMILIES: Final[tuple[tuple[str, str, type[Sent] | type[Pair] | type[Labelled]], ...]] = (
    ("shadow_copies", "Copies of requests for the canary, by what became of them.", Sent),
    ("shadow_pairs", "Copied requests, by what the two versions made of them.", Pair),
    ("shadow_labels", "True labels of flowers that both versions predicted, by which of them were right.", Labelled),
)


class MirrorCounts(Collector):
    """`shadow_copies_total`, `shadow_pairs_total`, `shadow_labels_total` by canary, and `shadow_share_ratio`.

    Belongs to the event loop, which counts without a lock.
    """

    def __init__(self) -> None:
        self._counts: dict[str, dict[type[_Result], dict[_Result, int]]] = {}
        self._shares: dict[str, float] = {}

    def begin(self, canary: str, share: float) -> None:
        """A plan holds from now on. Its counts begin at 0, before anything is sent, or go on."""
        counts = self._counts.pop(canary, None)
        self._counts[canary] = counts or {kind: dict.fromkeys(kind, 0) for _, _, kind in _FAMILIES}
        while len(self._counts) > _REVISIONS_KEPT:
            del self._counts[next(iter(self._counts))]
        self._shares = {canary: share}

    def end(self) -> None:
        """No plan holds."""
        self._shares = {}

    def add(self, canary: str, result: _Result) -> None:
        """Count one copy, pair or label. Of a canary that is forgotten nothing is counted."""
        counts = self._counts.get(canary)
        if counts is not None:
            counts[type(result)][result] += 1

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """The families as Prometheus reads them."""
        # At once: the loop may add a canary while the thread of the metrics reads.
        counts = dict(self._counts)
        for name, description, kind in _FAMILIES:
            family = CounterMetricFamily(name, description, labels=["canary", "result"])
            for canary, of_canary in counts.items():
                for result, count in of_canary[kind].items():
                    family.add_metric([canary, result.value], count)
            yield family
        share = GaugeMetricFamily("shadow_share_ratio", "Share of the requests that is copied.", labels=["canary"])
        for canary, ratio in dict(self._shares).items():
            share.add_metric([canary], ratio)
        yield share


class ReceivedCounts:
    """What a pod counts of the copies that it gets: the users' families again, under names of their own.

    In the form of `Metrics`, so that a copy is served by the same code as a request, and measured in the same way.
    """

    def __init__(self, metrics: Metrics, classes: Sequence[str], latency_buckets: Sequence[float]) -> None:
        self._metrics = metrics
        register = metrics.registry.register
        self._requests = LoopCounter(
            "shadow_requests", "Copies by status code.", ["code"], ((code,) for code in SHADOW_CODES)
        )
        seconds = RequestHistogram(
            "shadow_request_duration_seconds",
            "Time from a copy's arrival to the end of its answer, by the tier that gave it.",
            latency_buckets,
        )
        self._seconds = seconds.by_source
        self._failures = LoopCounter(
            "shadow_inference_failures",
            "Copies that the model did not answer.",
            ["reason"],
            ((reason.value,) for reason in FailureReason),
        )
        self._predictions = LoopCounter(
            "shadow_predictions", "Flowers of copies by predicted class.", ["class"], ((name,) for name in classes)
        )
        self._records = Counter(
            "shadow_records", "Predictions of copies on their way to PostgreSQL.", ["result"], registry=metrics.registry
        )
        self._classes = [(name,) for name in classes]
        self.features = _Uncounted()
        for collector in (self._requests, seconds, self._failures, self._predictions):
            register(collector)
        for result in RECORD_RESULTS:
            self._records.labels(result)

    def request(self, code: int, seconds: float, source: str | None) -> None:
        """A copy was answered, from `source`; None without a prediction."""
        self._requests.add((str(code),))
        # How fast copies are refused is no news about the model.
        if code not in NOT_LET_IN:
            self._seconds[source].observe(seconds)

    def inference(self, seconds: float, requests: int = 1) -> None:
        """The model ran. How long it takes is news about the model, whoever asked."""
        self._metrics.inference(seconds, requests)

    def failure(self, reason: FailureReason) -> None:
        """The model did not answer a copy."""
        self._failures.add((reason.value,))

    def predicted(self, class_index: int, count: int = 1) -> None:
        """So many flowers of copies were given a class."""
        self._predictions.add(self._classes[class_index], count)

    def records(self, result: str, count: int) -> None:
        """Predictions of copies got a step further, or nowhere, on the way to PostgreSQL."""
        if count:
            self._records.labels(result).inc(count)

    def watch_backlog(self, backlog: Backlog) -> None:
        """Copies wait in memory, in little of it, and are dropped beyond: nobody needs to be told how many wait."""


class _Uncounted:
    """The features of copies are those of requests that were counted where they came in."""

    def observe(self, instances: Sequence[Instance] | Matrix) -> None:
        """Nothing is counted."""
