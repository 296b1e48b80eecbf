"""The interface of the prediction cache, and the encoding of its entries. A cache may only save time.

A key consists of the model's digest, the pod's revision, and the features exactly as the model receives them, in single
precision, so that no version ever gets another one's predictions, and no arm of a comparison is warmed by another one:
a revision that differs only in its configuration, and the control group of a rollout, begin as cold as any new one. A
value has a checksum over its key and content, so that a value that is
damaged, foreign or under a wrong key is not used.
"""

import hashlib
import math
import struct
from collections.abc import Sequence
from typing import Final, Protocol

from iris_inference.model.prediction import Prediction
from iris_inference.model.runtime import Packed

# The tiers of the cache, and the absence of one, as in the metric's labels.
TIER_LOCAL: Final = "local"
TIER_REDIS: Final = "redis"
TIER_NONE: Final = "none"
TIERS: Final = (TIER_LOCAL, TIER_REDIS)
# Where the predictions of a response come from.
SOURCE_MODEL: Final = "model"
SOURCE_MIXED: Final = "mixed"
SOURCES: Final = (*TIERS, SOURCE_MODEL, SOURCE_MIXED)

_CHECKSUM_BYTES: Final = 8
_SCOPE_BYTES: Final = 8


class CacheCounts(Protocol):
    """Counts the results of lookups."""

    def cache(self, tier: str, result: str, count: int) -> None:
        """`count` instances were looked up in a tier of the cache, all with the same result."""
        ...


class RemoteCache(Protocol):
    """A cache that all pods share. Its methods never raise because of a failure of the cache."""

    async def get(self, instances: Sequence[Packed]) -> list[Prediction | None]:
        """The cached prediction of each instance, None where there is none."""
        ...

    def put(self, instances: Sequence[Packed], predictions: Sequence[Prediction]) -> None:
        """Cache predictions, asynchronously and best effort."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class NoCache:
    """Used when no cache is configured."""

    async def get(self, instances: Sequence[Packed]) -> list[Prediction | None]:
        """Nothing is cached."""
        return [None] * len(instances)

    def put(self, instances: Sequence[Packed], predictions: Sequence[Prediction]) -> None:
        """Nothing is cached."""

    async def close(self) -> None:
        """There is no connection."""


class CacheCodec:
    """Encodes keys, and values with checksums, for one model in one revision of the release."""

    def __init__(self, digest: str, classes: int, revision: str) -> None:
        # Hashed, so that keys are short however long the name of a revision is.
        scope = hashlib.blake2b(revision.encode(), digest_size=_SCOPE_BYTES).hexdigest()
        self.prefix = f"iris:prediction:{digest}:{scope}:".encode()
        # The hash state after the prefix; the checksum of each value continues from a copy.
        self._hashed = hashlib.blake2b(self.prefix, digest_size=_CHECKSUM_BYTES)
        self._content = struct.Struct(f"<H{classes}d")
        self._classes = classes

    @property
    def value_size(self) -> int:
        """The size of a value in bytes."""
        return _CHECKSUM_BYTES + self._content.size

    def key(self, instance: Packed) -> bytes:
        """The key of one instance."""
        return self.prefix + instance

    def encode(self, instance: Packed, prediction: Prediction) -> bytes:
        """The value to cache for `instance`."""
        content = self._content.pack(prediction.class_index, *prediction.probabilities)
        return self._checksum(instance, content) + content

    def decode(self, instance: Packed, value: bytes) -> Prediction | None:
        """The prediction in `value`, None unless it is intact and was encoded for exactly this instance and model."""
        checksum, content = value[:_CHECKSUM_BYTES], value[_CHECKSUM_BYTES:]
        if len(content) != self._content.size or checksum != self._checksum(instance, content):
            return None
        class_index, *probabilities = self._content.unpack(content)
        if class_index >= self._classes or not all(map(math.isfinite, probabilities)):
            return None
        return Prediction(class_index, tuple(probabilities))

    def _checksum(self, instance: Packed, content: bytes) -> bytes:
        hashed = self._hashed.copy()
        hashed.update(instance + content)
        return hashed.digest()
