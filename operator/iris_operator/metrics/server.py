"""The operator's own metrics and the port that serves them to Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server

from iris_operator import metric_names
from iris_operator.engine.reconcile import ReconcileOutcome, Result
from iris_operator.metrics.releases import ReleaseMetrics
from iris_operator.workqueue import Key


class OperatorMetrics:
    """The operator's metrics in a registry of their own; `releases` are those of each release."""

    def __init__(self, leads: Callable[[], bool] = lambda: True) -> None:
        """`leads` is asked at every scrape."""
        self.leads = leads
        self._served = False
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.releases = ReleaseMetrics()
        self.registry.register(self.releases)
        leader = Gauge(metric_names.LEADER, "1 while this process reconciles, 0 on standby.", registry=self.registry)
        leader.set_function(lambda: float(self.leads()))
        self._reconciles = Counter(
            metric_names.RECONCILES, "Passes over a release, by result.", ["result"], registry=self.registry
        )
        for result in Result:
            self._reconciles.labels(result.value)
        self._reconcile_seconds = Histogram(
            metric_names.RECONCILE_DURATION, "Duration of one pass over one release.", registry=self.registry
        )

    @contextmanager
    def time_reconcile(self) -> Iterator[None]:
        """Measure the duration of one reconcile."""
        with self._reconcile_seconds.time():
            yield

    def reconciled(self, key: Key, outcome: ReconcileOutcome, at: float) -> None:
        """A reconcile has ended at `at`, in seconds since 1970."""
        self._reconciles.labels(outcome.result.value).inc()
        if outcome.finished:
            self.releases.forget(key)
            return
        if outcome.snapshot is not None:
            self.releases.observe(key, outcome.snapshot)
        if outcome.result is Result.DONE:
            self.releases.succeeded(key, at)

    def serve(self, port: int) -> None:
        """Serve /metrics on all addresses of the pod, from the first call on."""
        if not self._served:
            start_http_server(port, registry=self.registry)
            self._served = True
