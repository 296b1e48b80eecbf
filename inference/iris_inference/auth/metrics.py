"""`auth_requests_total{result}`, counted without a lock: only the event loop counts."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from iris_inference.auth.identity import Outcome


class AuthCounts(Collector):
    """How many requests to protected routes ended how at the door; `results` may be added to directly."""

    def __init__(self) -> None:
        self.results: dict[Outcome, int] = dict.fromkeys(Outcome, 0)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The family as Prometheus reads it."""
        family = CounterMetricFamily("auth_requests", "Requests to protected routes by outcome.", labels=["result"])
        for outcome, count in self.results.items():
            family.add_metric([outcome.value], count)
        yield family
