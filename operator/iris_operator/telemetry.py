"""What the operator says about itself: JSON log lines and Prometheus metrics."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, start_http_server
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from iris_operator.engine.reconcile import Outcome, Result
from iris_operator.release_metrics import ReleaseMetrics
from iris_operator.wakeups import Key

# What Kopf hangs onto its records: whole settings and objects.
_KOPF_ATTRIBUTES = ("k8s_ref", "k8s_skip", "settings")
_QUIET = ("aiohttp.access", "urllib3", "asyncio")


def configure_logging(level: str) -> None:
    """One JSON object a line on standard output, for the log store; stack traces are a field."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        JsonFormatter(
            "{asctime}{levelname}{name}{message}",
            style="{",
            reserved_attrs=[*RESERVED_ATTRS, *_KOPF_ATTRIBUTES],
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Kopf tells of every handler it calls; what a pass decided is told by us.
    logging.getLogger("kopf").setLevel(max(logging.getLevelName(level), logging.WARNING))


class Telemetry:
    """The operator's own metrics, in a registry of their own; `releases` are those of each release."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.releases = ReleaseMetrics()
        self.registry.register(self.releases)
        self._passes = Counter(
            "iris_reconciles", "Passes over a release, by result.", ["result"], registry=self.registry
        )
        for result in Result:
            self._passes.labels(result.value)
        self._pass_seconds = Histogram(
            "iris_reconcile_duration_seconds", "Duration of one pass over one release.", registry=self.registry
        )

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Around one pass."""
        with self._pass_seconds.time():
            yield

    def passed(self, key: Key, outcome: Outcome, at: float) -> None:
        """A pass has ended at `at`, seconds since 1970."""
        self._passes.labels(outcome.result.value).inc()
        if outcome.finished:
            self.releases.forget(key)
            return
        if outcome.sighting is not None:
            self.releases.saw(key, outcome.sighting)
        if outcome.result is Result.DONE:
            self.releases.succeeded(key, at)

    def serve(self, port: int) -> None:
        """Serve /metrics on all addresses of the pod."""
        start_http_server(port, registry=self.registry)
