"""The first tier of the cache: the newest predictions, in the memory of this process.

What is kept here was computed by this very model or came through the checks of the tier behind, and nobody else can
write to it. So the exact features are key enough: there is one model in a process.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Final

from iris_inference.cache import LOCAL
from iris_inference.predictions import Prediction
from iris_inference.runtime import Packed
from iris_inference.telemetry import Metrics

# One in so many is removed beyond what has to go.
_LOT: Final = 128


class LocalCache:
    """Keeps the `capacity` predictions that were used last. With 0 it is not there: nothing is kept and none counted.

    Belongs to one event loop.
    """

    def __init__(self, metrics: Metrics, capacity: int) -> None:
        self._metrics = metrics
        self._capacity = capacity
        # In the order of use, as a dict keeps what is put in. An OrderedDict takes three times as long for each.
        self._kept: dict[Packed, Prediction] = {}
        # The front of a dict is slow to find where much was removed, so some more than need be are removed at once.
        self._left_over = capacity - capacity // _LOT

    def get(self, flowers: Sequence[Packed]) -> list[Prediction | None]:
        """The remembered prediction of each flower, None where there is none."""
        if not self._capacity:
            return [None] * len(flowers)
        kept = self._kept
        found = list(map(kept.get, flowers))
        misses = found.count(None)
        if misses < len(found):
            for flower, prediction in zip(flowers, found, strict=True):
                if prediction is not None:
                    del kept[flower]
                    kept[flower] = prediction
        self._metrics.cache(LOCAL, "hit", len(found) - misses)
        self._metrics.cache(LOCAL, "miss", misses)
        return found

    def put(self, flowers: Sequence[Packed], predictions: Sequence[Prediction]) -> None:
        """Remember predictions; those that were not used for longest make room."""
        if not self._capacity:
            return
        kept = self._kept
        kept.update(zip(flowers, predictions, strict=True))
        if len(kept) > self._capacity:
            for flower in list(islice(kept, len(kept) - self._left_over)):
                del kept[flower]
