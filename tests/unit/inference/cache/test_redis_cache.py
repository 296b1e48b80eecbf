"""A Redis that accepts connections and never replies: every caller continues without it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from iris_inference.api.schemas import FEATURES
from iris_inference.cache.base import CacheCodec
from iris_inference.cache.redis_cache import RedisCache
from iris_inference.cache.redis_connection import Endpoint, RedisConnection
from iris_inference.metrics.registry import Metrics
from support.inference import graphs

PING = b"*1\r\n$4\r\nPING\r\n"
# This many failures open the circuit breaker; later callers have not timed out by then.
FAILURES = 5
SECONDS = 5.0


@contextlib.asynccontextmanager
async def unresponsive_redis() -> AsyncIterator[RedisConnection]:
    """A connection to it. It is never established, because Redis does not reply to the password."""
    writers: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        connection = RedisConnection(Endpoint("127.0.0.1", port, None, None, "secret", 0, None))
        yield connection
        connection.disconnect()
        for writer in writers:
            writer.close()


async def test_cancelling_a_connection_attempt_fails_all_callers_that_wait_for_it() -> None:
    """Seen to fail: the cancellation of the connecting task was taken for that of the caller."""
    async with unresponsive_redis() as connection:
        calls = [asyncio.create_task(connection.execute(PING)) for _ in range(2)]
        await asyncio.sleep(0)
        connection.disconnect()
        _, waiting = await asyncio.wait(calls, timeout=SECONDS)
    assert not waiting
    assert [(task.cancelled(), type(task.exception())) for task in calls] == [(False, ConnectionAbortedError)] * 2


async def test_a_lookup_that_waits_while_the_breaker_opens_is_a_miss() -> None:
    """Seen to fail: its request never got a response."""
    metrics = Metrics(graphs.artifact(graphs.square_root()).manifest, FEATURES)
    async with unresponsive_redis() as connection, asyncio.timeout(SECONDS):
        cache = RedisCache(
            connection, CacheCodec("digest", 3, "revision"), metrics, timeout_seconds=0.05, ttl_seconds=60
        )
        early = [asyncio.create_task(cache.get([b"instance"])) for _ in range(FAILURES)]
        await asyncio.sleep(0.03)
        late = asyncio.create_task(cache.get([b"instance", b"another"]))
        assert await late == [None, None]
        assert await asyncio.gather(*early) == [[None]] * FAILURES


async def test_a_caller_cancelled_while_waiting_for_a_connection_stays_cancelled() -> None:
    async with unresponsive_redis() as connection:
        calls = asyncio.create_task(connection.execute(PING))
        await asyncio.sleep(0)
        calls.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calls
