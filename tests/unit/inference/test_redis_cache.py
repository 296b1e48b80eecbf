"""A Redis that takes connections and says nothing: whoever waits for it goes on without it, each of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from iris_inference.cache import Codec
from iris_inference.redis_cache import RedisCache
from iris_inference.redis_link import Endpoint, RedisLink
from iris_inference.schemas import FEATURES
from iris_inference.telemetry import Metrics
from unit.inference import graphs

QUESTION = b"*1\r\n$4\r\nPING\r\n"
# So many failures open the circuit breaker; those who wait by then have not had their time yet.
FAILURES = 5
SECONDS = 5.0


@contextlib.asynccontextmanager
async def silence() -> AsyncIterator[RedisLink]:
    """A link to it. A connection is not there before Redis has heard the password, so it stays on its way."""
    held: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        link = RedisLink(Endpoint("127.0.0.1", port, None, None, "secret", 0, None))
        yield link
        link.drop()
        for writer in held:
            writer.close()


async def test_giving_up_a_connection_that_is_on_its_way_fails_all_who_wait_for_it() -> None:
    """Seen to fail: the end of the connecting task was taken for the end of who waits for it."""
    async with silence() as link:
        asked = [asyncio.create_task(link.ask(QUESTION)) for _ in range(2)]
        await asyncio.sleep(0)
        link.drop()
        _, waiting = await asyncio.wait(asked, timeout=SECONDS)
    assert not waiting
    assert [(task.cancelled(), type(task.exception())) for task in asked] == [(False, ConnectionAbortedError)] * 2


async def test_a_lookup_that_waits_while_the_breaker_opens_is_a_miss() -> None:
    """Seen to fail: its request was never answered."""
    metrics = Metrics(graphs.artifact(graphs.root()).manifest, FEATURES)
    async with silence() as link, asyncio.timeout(SECONDS):
        cache = RedisCache(link, Codec("digest", 3), metrics, timeout_seconds=0.05, ttl_seconds=60)
        early = [asyncio.create_task(cache.get([b"flower"])) for _ in range(FAILURES)]
        await asyncio.sleep(0.03)
        late = asyncio.create_task(cache.get([b"flower", b"another"]))
        assert await late == [None, None]
        assert await asyncio.gather(*early) == [[None]] * FAILURES


async def test_who_is_cancelled_while_waiting_for_a_connection_stays_cancelled() -> None:
    async with silence() as link:
        asked = asyncio.create_task(link.ask(QUESTION))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
