"""The metrics of mirrored requests: of the pod that sends them, and of the pod that receives them.

They are apart from the families of the users' requests: no user waits for the response to a mirrored request, so it
must neither look like traffic nor, when it fails, like an outage.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final

from prometheus_client import Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from iris_inference import metric_names
from iris_inference.metrics.collectors import UnlockedCounter
from iris_inference.metrics.registry import PREDICTION_CODES, RECORD_RESULTS, Metrics, RequestHistogram
from iris_inference.model.arrays import Matrix
from iris_inference.model.runtime import FailureReason, Instance
from iris_inference.recording.record import Backlog

# A pod lives longer than a canary. The counts of earlier ones need not be scraped for ever.
_MAX_TARGETS: Final = 8
# 421: the request was meant for another revision.
REJECTED_CODES: Final = frozenset({401, 403, 421})
SHADOW_CODES: Final = (*PREDICTION_CODES, "421")


class SendResult(StrEnum):
    """The result of sending a mirrored request."""

    ANSWERED = "answered"
    FAILED = "failed"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    DROPPED = "dropped"


class PairResult(StrEnum):
    """How the predictions of the two versions compare. The last three: one of them, or neither, has a prediction."""

    SAME = "same"
    DIFFERENT = "different"
    ONLY_STABLE = "only_stable"
    ONLY_CANARY = "only_canary"
    NEITHER = "neither"


class LabelResult(StrEnum):
    """Which of the two versions were right about one instance."""

    BOTH = "both"
    ONLY_STABLE = "only_stable"
    ONLY_CANARY = "only_canary"
    NEITHER = "neither"


_Result = SendResult | PairResult | LabelResult
_FAMILIES: Final[tuple[tuple[str, str, type[SendResult] | type[PairResult] | type[LabelResult]], ...]] = (
    (metric_names.SHADOW_SENT, "Requests mirrored to the canary and to its control group, by result.", SendResult),
    (metric_names.SHADOW_PAIRS, "Mirrored requests, by how the predictions of the two versions compare.", PairResult),
    (
        metric_names.SHADOW_LABELS,
        "True labels of instances that both versions predicted, by which were right.",
        LabelResult,
    ),
)


class SenderMetrics(Collector):
    """`shadow_copies_total`, `shadow_pairs_total`, `shadow_labels_total` by canary, and `shadow_share_ratio`.

    The first of them also has the control group's revision in the label `canary`. Belongs to the event loop, which
    counts without a lock.
    """

    def __init__(self) -> None:
        self._counts: dict[str, dict[type[_Result], dict[_Result, int]]] = {}
        self._shares: dict[str, float] = {}

    def start(self, canary: str, share: float, control: str = "") -> None:
        """Begin to count for a canary and its control group. Counts start at 0, before anything is sent, or go on."""
        if control:
            self._start_counts(control, (SendResult,))
        self._start_counts(canary, [kind for _, _, kind in _FAMILIES])
        while len(self._counts) > _MAX_TARGETS:
            del self._counts[next(iter(self._counts))]
        self._shares = {canary: share}

    def _start_counts(self, target: str, kinds: Iterable[type[_Result]]) -> None:
        counts: dict[type[_Result], dict[_Result, int]] = {kind: dict.fromkeys(kind, 0) for kind in kinds}
        # The newest is the last one.
        self._counts[target] = self._counts.pop(target, counts)

    def stop(self) -> None:
        """No requests are mirrored any more."""
        self._shares = {}

    def add(self, target: str, result: _Result) -> None:
        """Count one request, pair or label. Nothing is counted for a target that was removed."""
        counts = self._counts.get(target)
        if counts is not None:
            counts[type(result)][result] += 1

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """The families as Prometheus reads them."""
        # Copied at once: the event loop may add a canary while the metrics thread iterates.
        counts = dict(self._counts)
        for name, description, kind in _FAMILIES:
            family = CounterMetricFamily(name, description, labels=["canary", "result"])
            for target, target_counts in counts.items():
                for result, count in target_counts.get(kind, {}).items():
                    family.add_metric([target, result.value], count)
            yield family
        share = GaugeMetricFamily(
            metric_names.SHADOW_SHARE_RATIO, "Share of the requests that is mirrored.", labels=["canary"]
        )
        for canary, ratio in dict(self._shares).items():
            share.add_metric([canary], ratio)
        yield share


class ReceiverMetrics:
    """The metrics of received requests: the users' families again, under other names.

    It has the interface of `Metrics`, so that mirrored requests are served and measured by the same code.
    """

    def __init__(self, metrics: Metrics, classes: Sequence[str], latency_buckets: Sequence[float]) -> None:
        self._metrics = metrics
        register = metrics.registry.register
        self._requests = UnlockedCounter(
            metric_names.SHADOW_REQUESTS,
            "Mirrored requests by status code.",
            ["code"],
            ((code,) for code in SHADOW_CODES),
        )
        seconds = RequestHistogram(
            metric_names.SHADOW_REQUEST_DURATION,
            "Time from a mirrored request's arrival to the end of its response, by the tier that answered.",
            latency_buckets,
        )
        self._seconds = seconds.by_source
        self._failures = UnlockedCounter(
            metric_names.SHADOW_INFERENCE_FAILURES,
            "Mirrored requests that the model did not answer.",
            ["reason"],
            ((reason.value,) for reason in FailureReason),
        )
        self._predictions = UnlockedCounter(
            metric_names.SHADOW_PREDICTIONS,
            "Instances of mirrored requests by predicted class.",
            ["class"],
            ((name,) for name in classes),
        )
        self._records = Counter(
            metric_names.SHADOW_RECORDS,
            "Predictions of mirrored requests on their way to PostgreSQL.",
            ["result"],
            registry=metrics.registry,
        )
        self._classes = [(name,) for name in classes]
        self.features = _NoFeatureCounts()
        for collector in (self._requests, seconds, self._failures, self._predictions):
            register(collector)
        for result in RECORD_RESULTS:
            self._records.labels(result)

    def request(self, code: int, seconds: float, source: str | None) -> None:
        """A mirrored request was answered, from `source`; None without a prediction."""
        self._requests.add((str(code),))
        # The duration of a rejection says nothing about the model.
        if code not in REJECTED_CODES:
            self._seconds[source].observe(seconds)

    def inference(self, seconds: float, requests: int = 1) -> None:
        """The model ran. Its duration counts for the model, whether the request was mirrored or not."""
        self._metrics.inference(seconds, requests)

    def failure(self, reason: FailureReason) -> None:
        """The model failed on a mirrored request."""
        self._failures.add((reason.value,))

    def predicted(self, class_index: int, count: int = 1) -> None:
        """`count` instances of mirrored requests were predicted to be of a class."""
        self._predictions.add(self._classes[class_index], count)

    def records(self, result: str, count: int) -> None:
        """`count` predictions of mirrored requests changed their state on the way to PostgreSQL."""
        if count:
            self._records.labels(result).inc(count)

    def watch_backlog(self, backlog: Backlog) -> None:
        """Nothing is measured: these records wait in a small backlog in memory, and are dropped beyond."""


class _NoFeatureCounts:
    """Features are counted by the pod that received the original request."""

    def observe(self, instances: Sequence[Instance] | Matrix) -> None:
        """Do nothing."""
