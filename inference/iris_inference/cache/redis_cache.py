"""The cache of predictions in Redis. Every failure is a miss: no request fails or waits longer because of Redis."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Final

import hiredis

from iris_inference.cache.base import TIER_REDIS, CacheCodec, CacheCounts
from iris_inference.cache.redis_connection import RedisConnection, RedisRefusedError
from iris_inference.circuit_breaker import CircuitBreaker
from iris_inference.logs import fields
from iris_inference.model.prediction import Prediction
from iris_inference.model.runtime import Packed

log = logging.getLogger(__name__)

_FAILURES: Final = (OSError, TimeoutError, RedisRefusedError, hiredis.HiredisError)


class RedisCache:
    """Looks up with a short timeout, writes without waiting, and uses a circuit breaker."""

    def __init__(
        self,
        connection: RedisConnection,
        codec: CacheCodec,
        metrics: CacheCounts,
        timeout_seconds: float,
        ttl_seconds: int,
    ) -> None:
        self._connection = connection
        self._codec = codec
        self._metrics = metrics
        self._timeout = timeout_seconds
        self._breaker = CircuitBreaker(time.monotonic)
        self._commands = _CommandEncoder(codec, ttl_seconds)

    async def get(self, instances: Sequence[Packed]) -> list[Prediction | None]:
        """The cached prediction of each instance, None where there is none or Redis does not answer in time."""
        values = await self._lookup(instances)
        if values is None:
            self._metrics.cache(TIER_REDIS, "error", len(instances))
            return [None] * len(instances)
        predictions: list[Prediction | None] = []
        corrupt = 0
        for instance, value in zip(instances, values, strict=True):
            # A value that is not a string was not written by this service.
            prediction = self._codec.decode(instance, value) if isinstance(value, bytes) else None
            corrupt += value is not None and prediction is None
            predictions.append(prediction)
        if corrupt:
            log.warning("cache values failed their checksum and were not used", extra=fields(values=corrupt))
        misses = values.count(None)
        self._metrics.cache(TIER_REDIS, "hit", len(predictions) - misses - corrupt)
        self._metrics.cache(TIER_REDIS, "error", corrupt)
        self._metrics.cache(TIER_REDIS, "miss", misses)
        return predictions

    def put(self, instances: Sequence[Packed], predictions: Sequence[Prediction]) -> None:
        """Send predictions to Redis, unless it does not answer or does not keep up."""
        if not self._breaker.open:
            self._connection.send_nowait(self._commands.set(instances, predictions), len(instances))

    async def close(self) -> None:
        """Close the connection. Writes in flight may be lost: it is a cache."""
        self._connection.disconnect()

    async def _lookup(self, instances: Sequence[Packed]) -> list[Any] | None:
        if not self._breaker.allow_request():
            return None
        try:
            async with asyncio.timeout(self._timeout):
                values = await self._connection.execute(self._commands.mget(instances))
        except _FAILURES as error:
            self._record_failure(error)
            return None
        self._record_success()
        return list(values)

    def _record_failure(self, error: Exception) -> None:
        was_open = self._breaker.open
        self._breaker.record_failure()
        if self._breaker.open:
            # Whatever the cause, a new connection is more likely to work than one with a queue.
            self._connection.disconnect()
            if not was_open:
                log.warning(
                    "redis does not answer; predictions go on without it", extra=fields(error=_describe_error(error))
                )

    def _record_success(self) -> None:
        if self._breaker.open:
            log.info("redis answers again")
        self._breaker.record_success()


class _CommandEncoder:
    """Encodes MGET and SET in Redis's protocol. Keys and values have fixed lengths, so most of it is constant."""

    def __init__(self, codec: CacheCodec, ttl_seconds: int) -> None:
        self._codec = codec
        seconds = str(ttl_seconds).encode()
        self._expire = b"\r\n$2\r\nEX\r\n$%d\r\n%b\r\n" % (len(seconds), seconds)
        self._value = b"\r\n$%d\r\n" % codec.value_size

    def mget(self, instances: Sequence[Packed]) -> bytes:
        """One MGET for all instances."""
        start = self._key(instances)
        keys = b"".join([start + instance for instance in instances])
        return b"*%d\r\n$4\r\nMGET" % (len(instances) + 1) + keys + b"\r\n"

    def set(self, instances: Sequence[Packed], predictions: Sequence[Prediction]) -> bytes:
        """One SET per instance."""
        start, value, end, encode = (
            b"*5\r\n$3\r\nSET" + self._key(instances),
            self._value,
            self._expire,
            self._codec.encode,
        )
        return b"".join(
            [
                start + instance + value + encode(instance, prediction) + end
                for instance, prediction in zip(instances, predictions, strict=True)
            ]
        )

    def _key(self, instances: Sequence[Packed]) -> bytes:
        prefix = self._codec.prefix
        return b"\r\n$%d\r\n%b" % (len(prefix) + len(instances[0]), prefix)


def _describe_error(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
