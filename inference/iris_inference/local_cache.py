"""The first tier of the cache: the newest predictions, in the memory of this process.

What is kept here was computed by this very model or came through the checks of the tier behind, and nobody else can
write to it. The keys are made by the same codec, so they hold the model's digest and the exact features.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from iris_inference.cache import Codec, PredictionCache
from iris_inference.runtime import Instance, Prediction
from iris_inference.telemetry import Metrics

TIER: Final = "local"


class LocalCache:
    """Keeps the `capacity` predictions that were used last, and asks `behind` for the others.

    Belongs to one event loop.
    """

    def __init__(self, behind: PredictionCache, codec: Codec, metrics: Metrics, capacity: int) -> None:
        self._behind = behind
        self._codec = codec
        self._metrics = metrics
        self._capacity = capacity
        self._kept: OrderedDict[bytes, Prediction] = OrderedDict()

    async def get(self, instances: Sequence[Instance]) -> list[Prediction | None]:
        """The remembered prediction of each instance, None where no tier has one."""
        keys = [self._codec.key(instance) for instance in instances]
        found = [self._lookup(key) for key in keys]
        unknown = [place for place, prediction in enumerate(found) if prediction is None]
        self._metrics.cache(TIER, "hit", len(found) - len(unknown))
        self._metrics.cache(TIER, "miss", len(unknown))
        if unknown:
            answers = await self._behind.get([instances[place] for place in unknown])
            for place, prediction in zip(unknown, answers, strict=True):
                if prediction is not None:
                    found[place] = prediction
                    self._keep(keys[place], prediction)
        return found

    def put(self, instances: Sequence[Instance], predictions: Sequence[Prediction]) -> None:
        """Remember predictions here, and pass them on to the tier behind."""
        for instance, prediction in zip(instances, predictions, strict=True):
            self._keep(self._codec.key(instance), prediction)
        self._behind.put(instances, predictions)

    async def close(self) -> None:
        """Close the tier behind."""
        await self._behind.close()

    def _lookup(self, key: bytes) -> Prediction | None:
        prediction = self._kept.get(key)
        if prediction is not None:
            self._kept.move_to_end(key)
        return prediction

    def _keep(self, key: bytes, prediction: Prediction) -> None:
        self._kept[key] = prediction
        self._kept.move_to_end(key)
        if len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
