"""The metrics of a pod and the port that serves them.

Every label value is exposed as 0 from the start: a counter that appears with its first event loses that event, because
`rate` and `increase` have no earlier sample to compare with.
"""

import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Final, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.registry import Collector

from iris_inference import metric_names
from iris_inference.auth.metrics import AuthMetrics
from iris_inference.cache.base import SOURCES, TIER_NONE, TIERS
from iris_inference.metrics.collectors import Durations, FeatureHistogram, UnlockedCounter, UnlockedHistogram
from iris_inference.metrics.relayed_feedback import RelayedFeedback
from iris_inference.model.artifact import Manifest
from iris_inference.model.runtime import FailureReason
from iris_inference.recording.record import Backlog
from iris_inference.settings import LATENCY_BUCKETS

# The same for all versions, or their distributions could not be compared. Centimetres.
FEATURE_BUCKETS: Final = (0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 8.0)
# All status codes of the prediction routes. 404: the client names another version of the model.
# 499: the client closed the connection before it had sent its request.
PREDICTION_CODES: Final = ("200", "401", "403", "404", "405", "408", "413", "415", "422", "429", "499", "500", "503")
CACHE_RESULTS: Final = ("hit", "miss", "error")
# rejected: answered with 503, because the record could not be stored.
RECORD_RESULTS: Final = ("recorded", "duplicate", "retried", "dropped", "rejected")
FEEDBACK_OUTCOMES: Final = ("correct", "incorrect")
# skipped: the circuit breaker was open.
RATE_SYNC_RESULTS: Final = ("ok", "failed", "skipped")

_Collector = TypeVar("_Collector", bound=Collector)


class RequestHistogram(UnlockedHistogram):
    """The durations of requests by `cache`: the tier that answered the whole request, or `none`.

    A tier answers faster than the model, and a new version has a cold cache: only durations of the same tier can be
    compared between two versions.
    """

    def __init__(self, name: str, description: str, bounds: Sequence[float]) -> None:
        super().__init__(name, description, bounds, ["cache"], [(tier,) for tier in (*TIERS, TIER_NONE)])
        self.by_source: Mapping[str | None, Durations] = {
            source: self.labels(source if source in TIERS else TIER_NONE) for source in (*SOURCES, None)
        }
        """The durations by the source of the predictions; None: no prediction."""


class Metrics:
    """All metrics of one pod in a registry of their own; their names are in metric_names.py."""

    def __init__(
        self, manifest: Manifest, request_features: Sequence[str], latency_buckets: Sequence[float] = LATENCY_BUCKETS
    ) -> None:
        # The `_created` series are not used, and would double the number of series.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # published without types
        self.registry = CollectorRegistry()
        self._requests = self._unlocked_counter(
            metric_names.REQUESTS, "Prediction requests by status code.", "code", PREDICTION_CODES
        )
        self._request_seconds = self._register(
            RequestHistogram(
                metric_names.REQUEST_DURATION,
                "Time from a prediction request's arrival to the end of its response, by the tier that answered.",
                latency_buckets,
            )
        ).by_source
        self._inference_seconds = self._register(
            UnlockedHistogram(
                metric_names.INFERENCE_DURATION,
                "Time that the model took for the instances of one request, and of those in the same batch.",
                latency_buckets,
            )
        ).labels()
        self._failures = self._counter(
            metric_names.INFERENCE_FAILURES, "Requests that the model did not answer.", "reason"
        )
        self._predictions = self._unlocked_counter(
            metric_names.PREDICTIONS, "Predicted instances by class.", "class", manifest.classes
        )
        self._code_labels = {int(code): (code,) for code in PREDICTION_CODES}
        self._class_labels = [(name,) for name in manifest.classes]
        self.features = self._register(FeatureHistogram(request_features, FEATURE_BUCKETS, manifest.training.features))
        self._feedback = self._counter(
            metric_names.FEEDBACK, "True labels received for predictions of this revision.", "outcome"
        )
        self._relayed = self._register(RelayedFeedback(FEEDBACK_OUTCOMES))
        cache = self._counter(metric_names.CACHE_REQUESTS, "Looked up instances by tier and result.", "tier", "result")
        self._cache = {(tier, result): cache.labels(tier, result) for tier, result in product(TIERS, CACHE_RESULTS)}
        self._records = self._counter(metric_names.RECORDS, "Predictions on their way to PostgreSQL.", "result")
        self.auth = AuthMetrics()
        self.registry.register(self.auth)
        self._rate_syncs = self._counter(
            metric_names.RATE_LIMIT_SYNC, "Synchronizations of the rate limits with Redis by result.", "result"
        )
        self._backlog_records = self._gauge(metric_names.BACKLOG_RECORDS, "Predictions that wait for PostgreSQL.")
        self._backlog_bytes = self._gauge(
            metric_names.BACKLOG_BYTES, "Size of the predictions that wait for PostgreSQL, in the spool or in memory."
        )
        self._backlog_fill = self._gauge(
            metric_names.BACKLOG_FILL_RATIO, "Used fraction of the space for predictions that wait for PostgreSQL."
        )
        self._backlog_age = self._gauge(
            metric_names.BACKLOG_OLDEST_SECONDS, "How long the oldest prediction has waited for PostgreSQL."
        )
        self._info = Gauge(
            metric_names.MODEL_INFO, "The served model.", ["name", "version", "digest"], registry=self.registry
        )
        self._start_at_zero(manifest)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(name, description, labels, registry=self.registry)

    def _unlocked_counter(self, name: str, description: str, label: str, values: Iterable[str]) -> UnlockedCounter:
        return self._register(UnlockedCounter(name, description, [label], ((value,) for value in values)))

    def _register(self, collector: _Collector) -> _Collector:
        self.registry.register(collector)
        return collector

    def _gauge(self, name: str, description: str) -> Gauge:
        return Gauge(name, description, registry=self.registry)

    def _start_at_zero(self, manifest: Manifest) -> None:
        for reason in FailureReason:
            self._failures.labels(reason.value)
        for outcome in FEEDBACK_OUTCOMES:
            self._feedback.labels(outcome)
        for result in RECORD_RESULTS:
            self._records.labels(result)
        for result in RATE_SYNC_RESULTS:
            self._rate_syncs.labels(result)
        self._info.labels(manifest.name, manifest.version, manifest.sha256).set(1)

    def request(self, code: int, seconds: float, source: str | None) -> None:
        """One prediction request was answered, from `source`: one of `cache.SOURCES`, None without a prediction.

        Like all methods that count requests and instances, only for the event loop.
        """
        self._requests.add(self._code_labels.get(code) or (str(code),))
        self._request_seconds[source].observe(seconds)

    def inference(self, seconds: float, requests: int = 1) -> None:
        """The model ran, successfully or not, for a batch of `requests` requests."""
        self._inference_seconds.observe(seconds, requests)

    def failure(self, reason: FailureReason) -> None:
        """The inference of a request failed."""
        self._failures.labels(reason.value).inc()

    def predicted(self, class_index: int, count: int = 1) -> None:
        """`count` instances were predicted as the class."""
        self._predictions.add(self._class_labels[class_index], count)

    def cache(self, tier: str, result: str, count: int) -> None:
        """`count` instances were looked up in a tier of the cache, all with the same result."""
        if count:
            self._cache[tier, result].inc(count)

    def records(self, result: str, count: int) -> None:
        """Count the result of writing `count` predictions to PostgreSQL."""
        if count:
            self._records.labels(result).inc(count)

    def rate_sync(self, result: str) -> None:
        """Count the result of a synchronization of rate limits with Redis."""
        self._rate_syncs.labels(result).inc()

    def watch_backlog(self, backlog: Backlog) -> None:
        """Expose the state of `backlog` at each scrape."""
        self._backlog_records.set_function(lambda: float(backlog.rows))
        self._backlog_bytes.set_function(lambda: float(backlog.size))
        self._backlog_fill.set_function(lambda: backlog.fill)
        self._backlog_age.set_function(lambda: max(0.0, time.time() - (backlog.oldest or time.time())))

    def feedback(self, outcome: str) -> None:
        """A true label was received for a prediction of this revision."""
        self._feedback.labels(outcome).inc()

    def feedback_relayed(self, made_by: str, outcome: str) -> None:
        """A true label was received for a prediction of another revision. Only for the event loop."""
        self._relayed.add(made_by, outcome)

    @contextmanager
    def serving(self, host: str, port: int) -> Iterator[None]:
        """Serve /metrics on its own port, in its own thread, while the block runs.

        Separate from the API, so that Prometheus can scrape during the drain and while the event loop is busy.
        Raises OSError when the port is in use.
        """
        server, thread = start_http_server(port, host, registry=self.registry)
        try:
            yield
        finally:
            # The server looks for its end twice a second, or as soon as something happens to its socket.
            server.socket.shutdown(socket.SHUT_RDWR)
            server.shutdown()
            server.server_close()
            thread.join()
