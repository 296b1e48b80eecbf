"""The first tier of the cache: the newest predictions, in the memory of this process.

What is kept here was computed by this very model or came through the checks of the tier behind, and nobody else can
write to it. So the exact features are key enough: there is one model in a process.
"""

from collections import OrderedDict
from collections.abc import Sequence

from iris_inference.cache import LOCAL
from iris_inference.runtime import Packed, Prediction
from iris_inference.telemetry import Metrics


class LocalCache:
    """Keeps the `capacity` predictions that were used last. With 0 it is not there: nothing is kept and none counted.

    Belongs to one event loop.
    """

    def __init__(self, metrics: Metrics, capacity: int) -> None:
        self._metrics = metrics
        self._capacity = capacity
        self._kept: OrderedDict[Packed, Prediction] = OrderedDict()

    def get(self, flowers: Sequence[Packed]) -> list[Prediction | None]:
        """The remembered prediction of each flower, None where there is none."""
        if not self._capacity:
            return [None] * len(flowers)
        kept = self._kept
        found = [kept.get(flower) for flower in flowers]
        misses = found.count(None)
        if misses < len(found):
            for flower, prediction in zip(flowers, found, strict=True):
                if prediction is not None:
                    kept.move_to_end(flower)
        self._metrics.cache(LOCAL, "hit", len(found) - misses)
        self._metrics.cache(LOCAL, "miss", misses)
        return found

    def put(self, flowers: Sequence[Packed], predictions: Sequence[Prediction]) -> None:
        """Remember predictions; those that were not used for longest make room."""
        if not self._capacity:
            return
        kept = self._kept
        kept.update(zip(flowers, predictions, strict=True))
        for _ in range(len(kept) - self._capacity):
            kept.popitem(last=False)
