"""Synchronizes the token buckets of all pods through Redis, several times a second.

Redis has one bucket per key, which refills at the key's rate. A pod subtracts the requests that it has already allowed
and continues with the remaining tokens; the bucket may become negative, and then no pod allows a request until it has
refilled. So the rate holds over time: `P` pods that synchronize with a delay of `T` seconds allow at most
`rate * t + P * (burst + rate * T)` requests in any `t` seconds, as if each pod had one bucket of its own, once.

While Redis is unavailable, each pod enforces the full rate by itself.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from iris_inference.auth.rate_limiter import TokenBucket
from iris_inference.circuit_breaker import CircuitBreaker
from iris_inference.logs import fields

log = logging.getLogger(__name__)

# Keys per call of the script: Redis serves no other client while a script runs.
_MAX_BATCH: Final = 200
TIMEOUT_SECONDS: Final = 0.25
_FAILURES: Final = (RedisError, OSError, TimeoutError)

# Uses Redis's clock, so that the clocks of the pods need not agree. A bucket expires once it would be full again; one
# that is evicted earlier is full too soon, which errs in favour of the caller.
_SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local remaining = {}
for index, key in ipairs(KEYS) do
  local rate, burst, used = tonumber(ARGV[index * 3 - 2]), tonumber(ARGV[index * 3 - 1]), tonumber(ARGV[index * 3])
  local stored = redis.call('HMGET', key, 'tokens', 'at')
  local tokens = burst
  if stored[1] and stored[2] then
    tokens = math.min(burst, tonumber(stored[1]) + math.max(0, now - tonumber(stored[2])) * rate)
  end
  tokens = tokens - used
  redis.call('HSET', key, 'tokens', string.format('%.6f', tokens), 'at', string.format('%.6f', now))
  redis.call('PEXPIRE', key, math.ceil((burst - tokens) / rate * 1000) + 1000)
  remaining[index] = string.format('%.6f', tokens)
end
return remaining
"""


class RateLimitSync:
    """A task of the event loop. `on_result` is called with the result of each batch: `ok`, `failed` or `skipped`."""

    def __init__(
        self, client: Redis, unsynced: list[TokenBucket], on_result: Callable[[str], None], interval_seconds: float
    ) -> None:
        self._client = client
        self._unsynced = unsynced
        self._on_result = on_result
        self._interval = interval_seconds
        self._script = client.register_script(_SCRIPT)
        self._breaker = CircuitBreaker(time.monotonic)
        self._task = asyncio.create_task(self._run(), name="rate-limit-sync")

    async def close(self) -> None:
        """Stop the task and close the connections."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        with contextlib.suppress(*_FAILURES):
            await self._client.aclose()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            while self._unsynced:
                batch = self._unsynced[:_MAX_BATCH]
                del self._unsynced[:_MAX_BATCH]
                await self._sync(batch)

    async def _sync(self, buckets: Sequence[TokenBucket]) -> None:
        used = [bucket.used for bucket in buckets]
        for bucket in buckets:
            # From here on it may be used again. Requests that are not reported now never are: when Redis is back, a pod
            # does not have to make up for what it allowed on its own.
            bucket.used = 0
        if not self._breaker.allow_request():
            self._on_result("skipped")
            return
        sent_at = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                remaining = await self._script(
                    keys=[f"iris:rate:{bucket.key_id}" for bucket in buckets],
                    args=[
                        number
                        for bucket, count in zip(buckets, used, strict=True)
                        for number in (bucket.rate, bucket.burst, count)
                    ],
                )
            corrections = [_finite(value) for value in remaining]
        except (*_FAILURES, ValueError, TypeError) as error:
            self._failed(error)
            return
        self._succeeded()
        for bucket, tokens in zip(buckets, corrections, strict=True):
            bucket.correct(tokens, sent_at)

    def _failed(self, error: Exception) -> None:
        self._on_result("failed")
        was_open = self._breaker.open
        self._breaker.record_failure()
        if self._breaker.open and not was_open:
            log.warning(
                "redis does not answer; each pod limits rates by itself",
                extra=fields(error=f"{type(error).__name__}: {error}"),
            )

    def _succeeded(self) -> None:
        self._on_result("ok")
        if self._breaker.open:
            log.info("rates are limited over all pods again")
        self._breaker.record_success()


def _finite(value: bytes) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"not a number of tokens: {value!r}")
    return number
