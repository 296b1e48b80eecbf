"""Where the parts of a service count, as far as they need to know: `Metrics` for requests, and others for copies."""

from collections.abc import Sequence
from typing import Protocol

from iris_inference.matrices import Matrix
from iris_inference.records import Backlog
from iris_inference.runtime import FailureReason, Instance


class RequestCounts(Protocol):
    """Counts answers."""

    def request(self, code: int, seconds: float, source: str | None) -> None:
        """One prediction request was answered, from `source`: one of `cache.SOURCES`, None without a prediction."""
        ...


class FeatureCounts(Protocol):
    """Counts how the values of features are distributed."""

    def observe(self, instances: Sequence[Instance] | Matrix) -> None:
        """Count each value of each flower."""
        ...


class ServiceCounts(Protocol):
    """Counts what the model is asked for."""

    @property
    def features(self) -> FeatureCounts:
        """The values of the requests' features."""
        ...

    def inference(self, seconds: float, requests: int = 1) -> None:
        """The model ran, well or not, for so many requests together."""
        ...

    def failure(self, reason: FailureReason) -> None:
        """The model did not answer a request."""
        ...

    def predicted(self, class_index: int, count: int = 1) -> None:
        """So many flowers were given a class."""
        ...


class RecordCounts(Protocol):
    """Counts what becomes of records."""

    def records(self, result: str, count: int) -> None:
        """`count` predictions got a step further, or nowhere, on the way to PostgreSQL."""
        ...

    def watch_backlog(self, backlog: Backlog) -> None:
        """Ask `backlog` at each scrape what waits."""
        ...
