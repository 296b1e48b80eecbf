"""Unawaited commands are sent with the next awaited command, or after a short delay."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from iris_inference.cache import redis_connection
from iris_inference.cache.redis_connection import Endpoint, RedisConnection

SET = b"*1\r\n$3\r\nSET\r\n"
GET = b"*1\r\n$3\r\nGET\r\n"


def commands_received(use: Callable[[RedisConnection], Awaitable[None]], commands: int) -> bytes:
    """The bytes that a server receives while `use` uses a connection, once they are `commands` commands."""

    async def serve() -> bytes:
        received = bytearray()
        enough = asyncio.Event()

        ended = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    received.extend(await reader.readexactly(len(GET)))
                    writer.write(b"+OK\r\n")
                    if len(received) == commands * len(GET):
                        enough.set()
            writer.close()
            ended.set()

        async with await asyncio.start_server(answer, "127.0.0.1") as server:
            connection = RedisConnection(
                Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], None, None, None, 0, None)
            )
            await use(connection)
            await asyncio.wait_for(enough.wait(), 5)
            connection.disconnect()
            await ended.wait()
        return bytes(received)

    return asyncio.run(serve())


def test_unawaited_commands_are_sent_before_the_next_awaited_one() -> None:
    async def use(connection: RedisConnection) -> None:
        await connection.execute(GET)
        connection.send_nowait(SET, 1)
        await connection.execute(GET)

    assert commands_received(use, 3) == GET + SET + GET


def test_unawaited_commands_are_sent_after_a_delay_also_when_the_timer_was_set_for_earlier_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seen to fail without the second timer."""
    monkeypatch.setattr(redis_connection, "_MAX_DELAY_SECONDS", 0.4)

    async def use(connection: RedisConnection) -> None:
        await connection.execute(GET)
        connection.send_nowait(SET, 1)
        await connection.execute(GET)
        # Less than the delay: the timer for the first one has not fired yet.
        await asyncio.sleep(0.2)
        connection.send_nowait(SET, 1)

    assert commands_received(use, 4) == GET + SET + GET + SET
