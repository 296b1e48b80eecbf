"""Requests on their way through the service, and the answers that they become."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, cast

import msgspec

from iris_inference.cache import MIXED
from iris_inference.matrices import MANY, Matrix, matrix
from iris_inference.predictions import Prediction, Predictions
from iris_inference.runtime import Instance, Packed, pack

_UNKNOWN: Final = Prediction(-1, ())


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The predictions of one request, and where they came from: one of `cache.SOURCES`."""

    instances: Sequence[Instance]
    packed: Sequence[Packed]
    predictions: Sequence[Prediction]
    source: str


class Ask(ABC):
    """One request on its way. What becomes of it is its own affair."""

    __slots__ = ("_places", "_sources", "found", "instances", "missing", "packed", "request_id", "values")

    def __init__(self, request_id: str, instances: Sequence[Instance]) -> None:
        self.request_id = request_id
        self.instances = instances
        self.values: Sequence[Instance] | Matrix = matrix(instances) if len(instances) >= MANY else instances
        self.found: Sequence[Prediction] = ()
        self.packed = self.missing = pack(self.values)
        self._places: Sequence[int] = range(len(instances))
        self._sources: list[str] = []

    def take(self, found: Sequence[Prediction | None], source: str) -> None:
        """Take what was found of the missing ones, in their order."""
        is_whole = isinstance(found, Predictions) or all(found)
        if not (is_whole or any(found)):
            return
        self._sources.append(source)
        if is_whole and len(found) == len(self.instances):
            # The usual case, and the one that has to be fast: what is looked for was found.
            self.found = cast(Sequence[Prediction], found)
            self.missing = []
            return
        together = list(self.found) or [_UNKNOWN] * len(self.instances)
        places, flowers = self._places, self.missing
        self._places, self.missing = left, still_missing = [], []
        for place, flower, prediction in zip(places, flowers, found, strict=True):
            if prediction is None:
                left.append(place)
                still_missing.append(flower)
            else:
                together[place] = prediction
        self.found = together

    def result(self) -> Answer:
        """What was found, once nothing is missing."""
        source = self._sources[0] if len(self._sources) == 1 else MIXED
        return Answer(self.instances, self.packed, self.found, source)

    @abstractmethod
    def succeed(self) -> None:
        """Nothing is missing, and it is recorded. Must not raise."""

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """There is no answer. Must not raise, and may be called again."""


class Awaited(Ask):
    """A request that a coroutine waits for."""

    __slots__ = ("answer",)

    def __init__(self, request_id: str, instances: Sequence[Instance]) -> None:
        super().__init__(request_id, instances)
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def succeed(self) -> None:
        """Let the request go on, unless it has ended meanwhile."""
        if not self.answer.done():
            self.answer.set_result(self.result())

    def fail(self, error: Exception) -> None:
        """Let the request end with `error`, unless it has ended otherwise."""
        if not self.answer.done():
            self.answer.set_exception(error)


def values_of(asks: Sequence[Ask]) -> Sequence[Instance] | Matrix:
    """The features of all of them. A request that has a matrix is alone."""
    return asks[0].values if len(asks) == 1 else [instance for ask in asks for instance in ask.instances]


def missing_of(asks: Sequence[Ask]) -> list[Packed]:
    """The flowers of all of them that were not found yet."""
    return asks[0].missing if len(asks) == 1 else [flower for ask in asks for flower in ask.missing]


def share(asks: Sequence[Ask], found: Sequence[Prediction | None], source: str) -> None:
    """Give each request what was found of its missing flowers."""
    if len(asks) == 1:
        asks[0].take(found, source)
        return
    start = 0
    for ask in asks:
        end = start + len(ask.missing)
        ask.take(found[start:end], source)
        start = end
