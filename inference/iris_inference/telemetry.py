"""The metrics of a pod and the port that serves them.

Every label value is written at start with 0: a counter that appears together with its first event loses that event,
because Prometheus has nothing to subtract from.
"""

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

from iris_inference.artifact import Manifest
from iris_inference.auth.counts import AuthCounts
from iris_inference.cache import NO_TIER, SOURCES, TIERS
from iris_inference.counters import Durations, FeatureHistogram, LoopCounter, LoopHistogram
from iris_inference.records import Backlog
from iris_inference.relayed import RelayedLabels
from iris_inference.runtime import FailureReason
from iris_inference.settings import LATENCY_BUCKETS

# Fixed before any rollout, or the distributions of two versions could not be compared. Centimetres.
FEATURE_BUCKETS: Final = (0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 8.0)
# All that the prediction routes can answer. 404: a client names another version of the model.
# 499: the client went away before it had sent its request.
PREDICTION_CODES: Final = ("200", "401", "403", "404", "405", "408", "413", "415", "422", "429", "499", "500", "503")
CACHE_RESULTS: Final = ("hit", "miss", "error")
# rejected: answered with 503, because the record could not be kept.
RECORD_RESULTS: Final = ("recorded", "duplicate", "retried", "dropped", "rejected")
FEEDBACK_OUTCOMES: Final = ("correct", "incorrect")
# skipped: not tried, because it has just failed several times.
RATE_SYNC_RESULTS: Final = ("ok", "failed", "skipped")

_Collector = TypeVar("_Collector", bound=Collector)


class RequestHistogram(LoopHistogram):
    """The durations of requests by `cache`: the tier that answered all of a request, or `none`.

    A tier answers faster than the model, and a version that is new has a cold cache: only durations of the same tier
    tell which of two versions is slower.
    """

    def __init__(self, name: str, description: str, bounds: Sequence[float]) -> None:
        super().__init__(name, description, bounds, ["cache"], [(tier,) for tier in (*TIERS, NO_TIER)])
        self.by_source: Mapping[str | None, Durations] = {
            source: self.labels(source if source in TIERS else NO_TIER) for source in (*SOURCES, None)
        }
        """Where to count a request, by where its answer came from; under None without an answer."""


class Metrics:
    """All series of one pod in a registry of their own; the names are a contract with the operator."""

    def __init__(
        self, manifest: Manifest, request_features: Sequence[str], latency_buckets: Sequence[float] = LATENCY_BUCKETS
    ) -> None:
        # Nobody reads when a counter was made, and each would be one more series for each label value.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # published without types
        self.registry = CollectorRegistry()
        self._requests = self._loop_counter(
            "inference_requests", "Prediction requests by status code.", "code", PREDICTION_CODES
        )
        self._request_seconds = self._registered(
            RequestHistogram(
                "inference_request_duration_seconds",
                "Time from a prediction request's arrival to the end of its answer, by the tier that gave it.",
                latency_buckets,
            )
        ).by_source
        self._inference_seconds = self._registered(
            LoopHistogram(
                "model_inference_duration_seconds",
                "Time that the model took for the flowers of one request, and of those that it was asked for together.",
                latency_buckets,
            )
        ).labels()
        self._failures = self._counter("model_inference_failures", "Requests that the model did not answer.", "reason")
        self._predictions = self._loop_counter(
            "model_predictions", "Predicted flowers by class.", "class", manifest.classes
        )
        self._code_labels = {int(code): (code,) for code in PREDICTION_CODES}
        self._class_labels = [(name,) for name in manifest.classes]
        self.features = self._registered(
            FeatureHistogram(request_features, FEATURE_BUCKETS, manifest.training.features)
        )
        self._feedback = self._counter("model_feedback", "True labels that came back, for this revision.", "outcome")
        self._relayed = self._registered(RelayedLabels(FEEDBACK_OUTCOMES))
        cache = self._counter("cache_requests", "Looked up flowers by tier and result.", "tier", "result")
        self._cache = {(tier, found): cache.labels(tier, found) for tier, found in product(TIERS, CACHE_RESULTS)}
        self._records = self._counter("prediction_records", "Predictions on their way to PostgreSQL.", "result")
        self.auth = AuthCounts()
        self.registry.register(self.auth)
        self._rate_syncs = self._counter("rate_limit_sync", "Settlements of the rates with Redis by result.", "result")
        self._backlog_records = self._gauge("prediction_backlog_records", "Predictions that wait for PostgreSQL.")
        self._backlog_bytes = self._gauge("prediction_backlog_bytes", "What they take, in the spool or in memory.")
        self._backlog_fill = self._gauge("prediction_backlog_fill_ratio", "How much of the room for them is taken.")
        self._backlog_age = self._gauge("prediction_backlog_oldest_seconds", "How long the oldest of them has waited.")
        self._info = Gauge("model_info", "The served model.", ["name", "version", "digest"], registry=self.registry)
        self._start_at_zero(manifest)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(name, description, labels, registry=self.registry)

    def _loop_counter(self, name: str, description: str, label: str, values: Iterable[str]) -> LoopCounter:
        return self._registered(LoopCounter(name, description, [label], ((value,) for value in values)))

    def _registered(self, collector: _Collector) -> _Collector:
        self.registry.register(collector)
        return collector

    def _gauge(self, name: str, description: str) -> Gauge:
        return Gauge(name, description, registry=self.registry)

    def _start_at_zero(self, manifest: Manifest) -> None:
        for reason in FailureReason:
            self._failures.labels(reason.value)
        for outcome in FEEDBACK_OUTCOMES:
            self._feedback.labels(outcome)
        for recorded in RECORD_RESULTS:
            self._records.labels(recorded)
        for synced in RATE_SYNC_RESULTS:
            self._rate_syncs.labels(synced)
        self._info.labels(manifest.name, manifest.version, manifest.sha256).set(1)

    def request(self, code: int, seconds: float, source: str | None) -> None:
        """One prediction request was answered, from `source`: one of `cache.SOURCES`, None without a prediction.

        Like all that count requests and flowers, for the event loop only.
        """
        self._requests.add(self._code_labels.get(code) or (str(code),))
        self._request_seconds[source].observe(seconds)

    def inference(self, seconds: float, requests: int = 1) -> None:
        """The model ran, well or not, for so many requests together."""
        self._inference_seconds.observe(seconds, requests)

    def failure(self, reason: FailureReason) -> None:
        """The model did not answer a request."""
        self._failures.labels(reason.value).inc()

    def predicted(self, class_index: int, count: int = 1) -> None:
        """So many flowers were given a class."""
        self._predictions.add(self._class_labels[class_index], count)

    def cache(self, tier: str, result: str, count: int) -> None:
        """`count` flowers were looked up in a tier of the cache, all with the same result."""
        if count:
            self._cache[tier, result].inc(count)

    def records(self, result: str, count: int) -> None:
        """`count` predictions got a step further, or nowhere, on the way to PostgreSQL."""
        if count:
            self._records.labels(result).inc(count)

    def rate_sync(self, result: str) -> None:
        """The rates were settled with Redis, or not."""
        self._rate_syncs.labels(result).inc()

    def watch_backlog(self, backlog: Backlog) -> None:
        """Ask `backlog` at each scrape what waits for PostgreSQL."""
        self._backlog_records.set_function(lambda: float(backlog.rows))
        self._backlog_bytes.set_function(lambda: float(backlog.size))
        self._backlog_fill.set_function(lambda: backlog.fill)
        self._backlog_age.set_function(lambda: max(0.0, time.time() - (backlog.oldest or time.time())))

    def feedback(self, outcome: str) -> None:
        """A true label came back for a prediction of this revision."""
        self._feedback.labels(outcome).inc()

    def feedback_relayed(self, made_by: str, outcome: str) -> None:
        """A true label came back for a prediction of another revision. For the event loop only."""
        self._relayed.add(made_by, outcome)

    @contextmanager
    def serving(self, host: str, port: int) -> Iterator[None]:
        """Serve /metrics on its own port, in its own thread, while the block runs.

        Apart from the API so that neither a busy event loop nor the drain keeps Prometheus from reading.
        Raises OSError when the port is taken.
        """
        server, thread = start_http_server(port, host, registry=self.registry)
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
