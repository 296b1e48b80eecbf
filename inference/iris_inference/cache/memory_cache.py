"""The first tier of the cache: recent predictions in the memory of this process.

Its entries were computed by this process's model or validated when they were read from Redis, and only this process
writes to it. The features alone are the key: there is one model per process.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Final

from iris_inference.cache.base import TIER_LOCAL, CacheCounts
from iris_inference.model.prediction import Prediction
from iris_inference.model.runtime import Packed

# An eviction also removes 1/128 of the capacity in advance.
_EVICTION_DIVISOR: Final = 128


class MemoryCache:
    """A least-recently-used cache of at most `capacity` predictions. With 0 it is disabled, and counts nothing.

    Not thread-safe: use it in one event loop.
    """

    def __init__(self, metrics: CacheCounts, capacity: int) -> None:
        self._metrics = metrics
        self._capacity = capacity
        # A dict in insertion order, least recently used first. An OrderedDict takes three times as long per entry.
        self._entries: dict[Packed, Prediction] = {}
        # Finding the first entry of a dict is slow after many removals, so evictions are done in batches.
        self._size_after_eviction = capacity - capacity // _EVICTION_DIVISOR

    def get(self, instances: Sequence[Packed]) -> list[Prediction | None]:
        """The cached prediction of each instance, None where there is none."""
        if not self._capacity:
            return [None] * len(instances)
        entries = self._entries
        predictions = list(map(entries.get, instances))
        misses = predictions.count(None)
        if misses < len(predictions):
            for instance, prediction in zip(instances, predictions, strict=True):
                if prediction is not None:
                    del entries[instance]
                    entries[instance] = prediction
        self._metrics.cache(TIER_LOCAL, "hit", len(predictions) - misses)
        self._metrics.cache(TIER_LOCAL, "miss", misses)
        return predictions

    def put(self, instances: Sequence[Packed], predictions: Sequence[Prediction]) -> None:
        """Cache predictions, and evict the least recently used ones above the capacity."""
        if not self._capacity:
            return
        entries = self._entries
        entries.update(zip(instances, predictions, strict=True))
        if len(entries) > self._capacity:
            for instance in list(islice(entries, len(entries) - self._size_after_eviction)):
                del entries[instance]
