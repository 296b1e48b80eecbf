"""The cache of predictions in Redis. Whatever goes wrong with it is a miss; no request ever fails or waits for it."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from iris_inference.breaker import CircuitBreaker
from iris_inference.cache import Codec
from iris_inference.logs import fields
from iris_inference.runtime import Instance, Prediction
from iris_inference.telemetry import Metrics

log = logging.getLogger(__name__)

TIER: Final = "redis"
# Writes wait here for Redis; when it is slow the newest are forgotten, not the memory filled.
_MAX_PENDING_WRITES: Final = 1_024
_MAX_CONNECTIONS: Final = 32
_FAILURES: Final = (RedisError, OSError, TimeoutError)

Entry = tuple[bytes, bytes]


class RedisCache:
    """Looks up within a short time limit, writes behind, and leaves Redis alone for a while when it fails."""

    def __init__(self, client: Redis, codec: Codec, metrics: Metrics, timeout_seconds: float, ttl_seconds: int) -> None:
        self._client = client
        self._codec = codec
        self._metrics = metrics
        self._timeout = timeout_seconds
        self._ttl = ttl_seconds
        self._breaker = CircuitBreaker(time.monotonic)
        self._pending: asyncio.Queue[Entry] = asyncio.Queue(_MAX_PENDING_WRITES)
        self._writer = asyncio.create_task(self._write_behind(), name="cache-writer")

    async def get(self, instances: Sequence[Instance]) -> list[Prediction | None]:
        """The remembered prediction of each instance, None where there is none or Redis does not answer in time."""
        keys = [self._codec.key(instance) for instance in instances]
        values = await self._lookup(keys)
        if values is None:
            self._metrics.cache(TIER, "error", len(keys))
            return [None] * len(keys)
        found: list[Prediction | None] = []
        poisoned = 0
        for key, value in zip(keys, values, strict=True):
            prediction = None if value is None else self._codec.decode(key, value)
            poisoned += value is not None and prediction is None
            found.append(prediction)
        if poisoned:
            log.warning("cache values failed their checksum and were not used", extra=fields(values=poisoned))
        hits = len(keys) - found.count(None)
        self._metrics.cache(TIER, "hit", hits)
        self._metrics.cache(TIER, "error", poisoned)
        self._metrics.cache(TIER, "miss", len(keys) - hits - poisoned)
        return found

    def put(self, instances: Sequence[Instance], predictions: Sequence[Prediction]) -> None:
        """Queue predictions for writing; forget those for which there is no room."""
        if self._breaker.open:
            return
        with contextlib.suppress(asyncio.QueueFull):
            for instance, prediction in zip(instances, predictions, strict=True):
                key = self._codec.key(instance)
                self._pending.put_nowait((key, self._codec.encode(key, prediction)))

    async def close(self) -> None:
        """Stop writing and close the connections. What was still to be written is forgotten: it is a cache."""
        self._writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._writer
        with contextlib.suppress(*_FAILURES):
            await self._client.aclose()

    async def _lookup(self, keys: list[bytes]) -> list[bytes | None] | None:
        if not self._breaker.admits():
            return None
        try:
            async with asyncio.timeout(self._timeout):
                values = await self._client.mget(keys)
        except _FAILURES as error:
            self._failed(error)
            return None
        self._succeeded()
        # The client decodes nothing, so text is never among them; its types do not know that.
        return [value if isinstance(value, bytes) else None for value in values]

    async def _write_behind(self) -> None:
        while True:
            entries = [await self._pending.get()]
            while not self._pending.empty():
                entries.append(self._pending.get_nowait())
            if self._breaker.open:
                continue
            try:
                async with asyncio.timeout(self._timeout * 4), self._client.pipeline(transaction=False) as pipeline:
                    for key, value in entries:
                        pipeline.set(key, value, ex=self._ttl)
                    await pipeline.execute()
            except _FAILURES as error:
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        was_open = self._breaker.open
        self._breaker.failed()
        if self._breaker.open and not was_open:
            log.warning("redis does not answer; predictions go on without it", extra=fields(error=_told(error)))

    def _succeeded(self) -> None:
        if self._breaker.open:
            log.info("redis answers again")
        self._breaker.succeeded()


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def connect(url: str, timeout_seconds: float) -> Redis:
    """A client that never retries and never waits longer than `timeout_seconds` for the network. Opens nothing yet."""
    return Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        max_connections=_MAX_CONNECTIONS,
    )
