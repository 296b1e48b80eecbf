"""`auth_requests_total{result}`, counted without a lock: only the event loop counts."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from iris_inference import metric_names
from iris_inference.auth.identity import Outcome


class AuthMetrics(Collector):
    """Counts requests to protected routes by the outcome of authentication; `results` is incremented directly."""

    def __init__(self) -> None:
        self.results: dict[Outcome, int] = dict.fromkeys(Outcome, 0)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Part of prometheus_client's Collector."""
        family = CounterMetricFamily(
            metric_names.AUTH_REQUESTS, "Requests to protected routes by outcome.", labels=["result"]
        )
        for outcome, count in self.results.items():
            family.add_metric([outcome.value], count)
        yield family
