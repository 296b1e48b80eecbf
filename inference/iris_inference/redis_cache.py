"""The cache of predictions in Redis. Whatever goes wrong with it is a miss; no request ever fails or waits for it."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Final

import hiredis

from iris_inference.breaker import CircuitBreaker
from iris_inference.cache import REDIS, Codec
from iris_inference.logs import fields
from iris_inference.predictions import Prediction
from iris_inference.redis_link import RedisLink, RedisRefusedError
from iris_inference.runtime import Packed
from iris_inference.telemetry import Metrics

log = logging.getLogger(__name__)

_FAILURES: Final = (OSError, TimeoutError, RedisRefusedError, hiredis.HiredisError)


class RedisCache:
    """Looks up within a short time limit, writes without waiting, and leaves Redis alone for a while when it fails."""

    def __init__(
        self, link: RedisLink, codec: Codec, metrics: Metrics, timeout_seconds: float, ttl_seconds: int
    ) -> None:
        self._link = link
        self._codec = codec
        self._metrics = metrics
        self._timeout = timeout_seconds
        self._breaker = CircuitBreaker(time.monotonic)
        self._commands = _Commands(codec, ttl_seconds)

    async def get(self, flowers: Sequence[Packed]) -> list[Prediction | None]:
        """The remembered prediction of each flower, None where there is none or Redis does not answer in time."""
        values = await self._lookup(flowers)
        if values is None:
            self._metrics.cache(REDIS, "error", len(flowers))
            return [None] * len(flowers)
        found: list[Prediction | None] = []
        poisoned = 0
        for flower, value in zip(flowers, values, strict=True):
            # A value of another type than a text is nothing that we have written.
            prediction = self._codec.decode(flower, value) if isinstance(value, bytes) else None
            poisoned += value is not None and prediction is None
            found.append(prediction)
        if poisoned:
            log.warning("cache values failed their checksum and were not used", extra=fields(values=poisoned))
        misses = values.count(None)
        self._metrics.cache(REDIS, "hit", len(found) - misses - poisoned)
        self._metrics.cache(REDIS, "error", poisoned)
        self._metrics.cache(REDIS, "miss", misses)
        return found

    def put(self, flowers: Sequence[Packed], predictions: Sequence[Prediction]) -> None:
        """Send predictions to Redis, unless it does not answer or does not keep up."""
        if not self._breaker.open:
            self._link.tell(self._commands.set(flowers, predictions), len(flowers))

    async def close(self) -> None:
        """Close the connection. What is still on its way may be lost: it is a cache."""
        self._link.drop()

    async def _lookup(self, flowers: Sequence[Packed]) -> list[Any] | None:
        if not self._breaker.admits():
            return None
        try:
            async with asyncio.timeout(self._timeout):
                values = await self._link.ask(self._commands.get(flowers))
        except _FAILURES as error:
            self._failed(error)
            return None
        self._succeeded()
        return list(values)

    def _failed(self, error: Exception) -> None:
        was_open = self._breaker.open
        self._breaker.failed()
        if self._breaker.open:
            # Whatever holds it up, a new connection is a better chance than one with a queue.
            self._link.drop()
            if not was_open:
                log.warning("redis does not answer; predictions go on without it", extra=fields(error=_told(error)))

    def _succeeded(self) -> None:
        if self._breaker.open:
            log.info("redis answers again")
        self._breaker.succeeded()


class _Commands:
    """Writes out the two commands in Redis's protocol. Keys and values are of fixed lengths, so most of it is fixed."""

    def __init__(self, codec: Codec, ttl_seconds: int) -> None:
        self._codec = codec
        seconds = str(ttl_seconds).encode()
        self._expire = b"\r\n$2\r\nEX\r\n$%d\r\n%b\r\n" % (len(seconds), seconds)
        self._value = b"\r\n$%d\r\n" % codec.value_size

    def get(self, flowers: Sequence[Packed]) -> bytes:
        """MGET of all of them."""
        key = self._key(flowers)
        return b"*%d\r\n$4\r\nMGET" % (len(flowers) + 1) + b"".join([key + flower for flower in flowers]) + b"\r\n"

    def set(self, flowers: Sequence[Packed], predictions: Sequence[Prediction]) -> bytes:
        """A SET for each of them."""
        start, value, end, encode = (
            b"*5\r\n$3\r\nSET" + self._key(flowers),
            self._value,
            self._expire,
            self._codec.encode,
        )
        return b"".join(
            [
                start + flower + value + encode(flower, prediction) + end
                for flower, prediction in zip(flowers, predictions, strict=True)
            ]
        )

    def _key(self, flowers: Sequence[Packed]) -> bytes:
        prefix = self._codec.prefix
        return b"\r\n$%d\r\n%b" % (len(prefix) + len(flowers[0]), prefix)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
