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

from iris_inference.runtime import Instance, Prediction

_CHECKSUM_BYTES: Final = 8


class PredictionCache(Protocol):
    """Remembers predictions. Neither method ever raises because of the cache."""

    async def get(self, instances: Sequence[Instance]) -> list[Prediction | None]:
        """The remembered prediction of each instance, None where there is none."""
        ...

    def put(self, instances: Sequence[Instance], predictions: Sequence[Prediction]) -> None:
        """Remember predictions, at some time, perhaps."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class NoCache:
    """Stands in for a tier that is not configured."""

    async def get(self, instances: Sequence[Instance]) -> list[Prediction | None]:
        """Nothing is remembered."""
        return [None] * len(instances)

    def put(self, instances: Sequence[Instance], predictions: Sequence[Prediction]) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is open."""


class Codec:
    """Turns instances into keys and predictions into checked values, for one model."""

    def __init__(self, digest: str, classes: int) -> None:
        self._prefix = f"iris:prediction:{digest}:".encode()
        self._values = struct.Struct(f"<H{classes}d")
        self._classes = classes

    def key(self, instance: Instance) -> bytes:
        """The key of one instance: each feature as the four bytes that reach the model."""
        return self._prefix + struct.pack(f"<{len(instance)}f", *instance)

    def encode(self, key: bytes, prediction: Prediction) -> bytes:
        """The value to keep under `key`."""
        content = self._values.pack(prediction.class_index, *prediction.probabilities)
        return _checksum(key, content) + content

    def decode(self, key: bytes, value: bytes) -> Prediction | None:
        """The prediction in `value`, None unless it was encoded for exactly this key and is whole."""
        checksum, content = value[:_CHECKSUM_BYTES], value[_CHECKSUM_BYTES:]
        if len(content) != self._values.size or checksum != _checksum(key, content):
            return None
        class_index, *probabilities = self._values.unpack(content)
        if class_index >= self._classes or not all(map(math.isfinite, probabilities)):
            return None
        return Prediction(class_index, tuple(probabilities))


def _checksum(key: bytes, content: bytes) -> bytes:
    return hashlib.blake2b(key + content, digest_size=_CHECKSUM_BYTES).digest()
