"""What a cache of predictions is, and how it keeps them. It may only ever save time.

A key is made of the model's digest and the features exactly as the model is fed with them, in single precision, so that
no version ever sees another one's answers. A value
carries a checksum over its key and content, so that one that is damaged, foreign or under a wrong key is not believed.
"""

import hashlib
import math
import struct
from collections.abc import Sequence
from typing import Final, Protocol

from iris_inference.predictions import Prediction
from iris_inference.runtime import Packed

# The tiers of the cache, and the absence of one, by their names in the metrics.
LOCAL: Final = "local"
REDIS: Final = "redis"
NO_TIER: Final = "none"
TIERS: Final = (LOCAL, REDIS)
# Where an answer comes from.
MODEL: Final = "model"
MIXED: Final = "mixed"
SOURCES: Final = (*TIERS, MODEL, MIXED)

_CHECKSUM_BYTES: Final = 8


class RemoteCache(Protocol):
    """Remembers predictions for all pods. No method ever raises because of the cache."""

    async def get(self, flowers: Sequence[Packed]) -> list[Prediction | None]:
        """The remembered prediction of each flower, None where there is none."""
        ...

    def put(self, flowers: Sequence[Packed], predictions: Sequence[Prediction]) -> None:
        """Remember predictions, at some time, perhaps."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class NoCache:
    """Stands in when none is configured."""

    async def get(self, flowers: Sequence[Packed]) -> list[Prediction | None]:
        """Nothing is remembered."""
        return [None] * len(flowers)

    def put(self, flowers: Sequence[Packed], predictions: Sequence[Prediction]) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is open."""


class Codec:
    """Turns flowers into keys and predictions into checked values, for one model."""

    def __init__(self, digest: str, classes: int) -> None:
        self.prefix = f"iris:prediction:{digest}:".encode()
        # Over the prefix already; each value's checksum goes on from a copy.
        self._hashed = hashlib.blake2b(self.prefix, digest_size=_CHECKSUM_BYTES)
        self._values = struct.Struct(f"<H{classes}d")
        self._classes = classes

    @property
    def value_size(self) -> int:
        """Bytes of a value."""
        return _CHECKSUM_BYTES + self._values.size

    def key(self, flower: Packed) -> bytes:
        """The key of one flower."""
        return self.prefix + flower

    def encode(self, flower: Packed, prediction: Prediction) -> bytes:
        """The value to keep for `flower`."""
        content = self._values.pack(prediction.class_index, *prediction.probabilities)
        return self._checksum(flower, content) + content

    def decode(self, flower: Packed, value: bytes) -> Prediction | None:
        """The prediction in `value`, None unless it was encoded for exactly this flower and model and is whole."""
        checksum, content = value[:_CHECKSUM_BYTES], value[_CHECKSUM_BYTES:]
        if len(content) != self._values.size or checksum != self._checksum(flower, content):
            return None
        class_index, *probabilities = self._values.unpack(content)
        if class_index >= self._classes or not all(map(math.isfinite, probabilities)):
            return None
        return Prediction(class_index, tuple(probabilities))

    def _checksum(self, flower: Packed, content: bytes) -> bytes:
        hashed = self._hashed.copy()
        hashed.update(flower + content)
        return hashed.digest()
