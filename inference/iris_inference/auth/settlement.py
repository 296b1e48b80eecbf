"""Settles with Redis, some times a second, what the pods let through on their own.

Redis has a bucket for each key that fills at the key's rate. A pod takes out of it what it has let through, after the
fact, and goes on with what is left; the bucket may fall below zero, and then no pod lets anything through until it has
filled again. So the rate holds over time, and what `P` pods that hear of each other `T` seconds late let through in any
`t` seconds is at most `rate * t + P * (burst + rate * T)`: as much as if each pod had a bucket of its own, once.

While Redis is away each pod holds the full rate by itself.
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

from iris_inference.auth.limiter import Allowance
from iris_inference.breaker import CircuitBreaker
from iris_inference.logs import fields

log = logging.getLogger(__name__)

# One call of the script settles so many keys at most: Redis answers nobody else meanwhile.
_MOST_AT_ONCE: Final = 200
TIMEOUT_SECONDS: Final = 0.25
_FAILURES: Final = (RedisError, OSError, TimeoutError)

# Redis's own clock, so that the clocks of the pods need not agree. A bucket that is full again is as good as none, and
# may be forgotten then; one that is evicted earlier is full too soon, which errs on the side of the caller.
_SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local left = {}
for place, key in ipairs(KEYS) do
  local rate, burst, used = tonumber(ARGV[place * 3 - 2]), tonumber(ARGV[place * 3 - 1]), tonumber(ARGV[place * 3])
  local kept = redis.call('HMGET', key, 'tokens', 'at')
  local tokens = burst
  if kept[1] and kept[2] then
    tokens = math.min(burst, tonumber(kept[1]) + math.max(0, now - tonumber(kept[2])) * rate)
  end
  tokens = tokens - used
  redis.call('HSET', key, 'tokens', string.format('%.6f', tokens), 'at', string.format('%.6f', now))
  redis.call('PEXPIRE', key, math.ceil((burst - tokens) / rate * 1000) + 1000)
  left[place] = string.format('%.6f', tokens)
end
return left
"""


class Settlement:
    """A task of the event loop. `tell` is called with each round's result: `ok`, `failed` or `skipped`."""

    def __init__(
        self, client: Redis, touched: list[Allowance], tell: Callable[[str], None], interval_seconds: float
    ) -> None:
        self._client = client
        self._touched = touched
        self._tell = tell
        self._interval = interval_seconds
        self._script = client.register_script(_SCRIPT)
        self._breaker = CircuitBreaker(time.monotonic)
        self._task = asyncio.create_task(self._run(), name="rate-limit-settlement")

    async def close(self) -> None:
        """Stop and close the connections."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        with contextlib.suppress(*_FAILURES):
            await self._client.aclose()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            while self._touched:
                round_ = self._touched[:_MOST_AT_ONCE]
                del self._touched[:_MOST_AT_ONCE]
                await self._settle(round_)

    async def _settle(self, allowances: Sequence[Allowance]) -> None:
        used = [allowance.used for allowance in allowances]
        for allowance in allowances:
            # From here on it may be touched again. What is not settled now never is: a pod on its own owes the others
            # nothing when Redis is back.
            allowance.used = 0
        if not self._breaker.admits():
            self._tell("skipped")
            return
        asked = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                left = await self._script(
                    keys=[f"iris:rate:{allowance.key_id}" for allowance in allowances],
                    args=[
                        number
                        for allowance, count in zip(allowances, used, strict=True)
                        for number in (allowance.rate, allowance.burst, count)
                    ],
                )
            corrections = [_finite(value) for value in left]
        except (*_FAILURES, ValueError, TypeError) as error:
            self._failed(error)
            return
        self._succeeded()
        for allowance, tokens in zip(allowances, corrections, strict=True):
            allowance.correct(tokens, asked)

    def _failed(self, error: Exception) -> None:
        self._tell("failed")
        was_open = self._breaker.open
        self._breaker.failed()
        if self._breaker.open and not was_open:
            log.warning(
                "redis does not answer; each pod limits rates by itself",
                extra=fields(error=f"{type(error).__name__}: {error}"),
            )

    def _succeeded(self) -> None:
        self._tell("ok")
        if self._breaker.open:
            log.info("rates are limited over all pods again")
        self._breaker.succeeded()


def _finite(value: bytes) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"no number of tokens: {value!r}")
    return number
