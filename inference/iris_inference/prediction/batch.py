"""Requests as items of a batch, and their results."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, cast

import msgspec

from iris_inference.cache.base import SOURCE_MIXED
from iris_inference.model.arrays import VECTORIZE_FROM, Matrix, to_matrix
from iris_inference.model.prediction import Prediction, Predictions
from iris_inference.model.runtime import Instance, Packed, pack

_PLACEHOLDER: Final = Prediction(-1, ())


class PredictionResult(msgspec.Struct, frozen=True, gc=False):
    """The predictions of one request, and their source: one of `cache.SOURCES`."""

    instances: Sequence[Instance]
    packed: Sequence[Packed]
    predictions: Sequence[Prediction]
    source: str


class BatchItem(ABC):
    """One request in a batch. Subclasses define what happens when it succeeds or fails."""

    __slots__ = (
        "_missing_indices",
        "_sources",
        "features",
        "instances",
        "missing",
        "packed",
        "predictions",
        "request_id",
    )

    def __init__(self, request_id: str, instances: Sequence[Instance]) -> None:
        self.request_id = request_id
        self.instances = instances
        self.features: Sequence[Instance] | Matrix = (
            to_matrix(instances) if len(instances) >= VECTORIZE_FROM else instances
        )
        self.predictions: Sequence[Prediction] = ()
        self.packed = self.missing = pack(self.features)
        self._missing_indices: Sequence[int] = range(len(instances))
        self._sources: list[str] = []

    def add_predictions(self, predictions: Sequence[Prediction | None], source: str) -> None:
        """Add the predictions of the missing instances, in their order; None: still missing."""
        complete = isinstance(predictions, Predictions) or all(predictions)
        if not (complete or any(predictions)):
            return
        self._sources.append(source)
        if complete and len(predictions) == len(self.instances):
            # The common case, which has to be fast: one source has all predictions.
            self.predictions = cast(Sequence[Prediction], predictions)
            self.missing = []
            return
        merged = list(self.predictions) or [_PLACEHOLDER] * len(self.instances)
        indices, missing = self._missing_indices, self.missing
        self._missing_indices, self.missing = still_missing_indices, still_missing = [], []
        for index, packed, prediction in zip(indices, missing, predictions, strict=True):
            if prediction is None:
                still_missing_indices.append(index)
                still_missing.append(packed)
            else:
                merged[index] = prediction
        self.predictions = merged

    def result(self) -> PredictionResult:
        """The result, once nothing is missing."""
        source = self._sources[0] if len(self._sources) == 1 else SOURCE_MIXED
        return PredictionResult(self.instances, self.packed, self.predictions, source)

    @abstractmethod
    def succeed(self) -> None:
        """All predictions are there and recorded. Must not raise."""

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """The request failed. Must not raise, and may be called more than once."""


class AwaitedItem(BatchItem):
    """A request whose result a coroutine awaits."""

    __slots__ = ("future",)

    def __init__(self, request_id: str, instances: Sequence[Instance]) -> None:
        super().__init__(request_id, instances)
        self.future: asyncio.Future[PredictionResult] = asyncio.get_running_loop().create_future()

    def succeed(self) -> None:
        """Set the result, unless the request has ended meanwhile."""
        if not self.future.done():
            self.future.set_result(self.result())

    def fail(self, error: Exception) -> None:
        """Set the error, unless the request has ended meanwhile."""
        if not self.future.done():
            self.future.set_exception(error)


def all_features(items: Sequence[BatchItem]) -> Sequence[Instance] | Matrix:
    """The features of all items. A request with a matrix is always in a batch of its own."""
    return items[0].features if len(items) == 1 else [instance for item in items for instance in item.instances]


def all_missing(items: Sequence[BatchItem]) -> list[Packed]:
    """The instances of all items that have no prediction yet."""
    return items[0].missing if len(items) == 1 else [packed for item in items for packed in item.missing]


def distribute(items: Sequence[BatchItem], predictions: Sequence[Prediction | None], source: str) -> None:
    """Give each item the predictions of its missing instances."""
    if len(items) == 1:
        items[0].add_predictions(predictions, source)
        return
    start = 0
    for item in items:
        end = start + len(item.missing)
        item.add_predictions(predictions[start:end], source)
        start = end
