"""What nobody waits for goes to Redis with a question, or a moment later without one."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from iris_inference import redis_link
from iris_inference.redis_link import Endpoint, RedisLink

SET = b"*1\r\n$3\r\nSET\r\n"
GET = b"*1\r\n$3\r\nGET\r\n"


def spoken(talk: Callable[[RedisLink], Awaitable[None]], commands: int) -> bytes:
    """What the other side has read of the talk and after it, once it is so many commands. Each is answered."""

    async def listen() -> bytes:
        heard = bytearray()
        enough = asyncio.Event()

        ended = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    heard.extend(await reader.readexactly(len(GET)))
                    writer.write(b"+OK\r\n")
                    if len(heard) == commands * len(GET):
                        enough.set()
            writer.close()
            ended.set()

        async with await asyncio.start_server(answer, "127.0.0.1") as server:
            link = RedisLink(Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], None, None, None, 0, None))
            await talk(link)
            await asyncio.wait_for(enough.wait(), 5)
            link.drop()
            await ended.wait()
        return bytes(heard)

    return asyncio.run(listen())


def test_it_goes_before_the_next_question() -> None:
    async def talk(link: RedisLink) -> None:
        await link.ask(GET)
        link.tell(SET, 1)
        await link.ask(GET)

    assert spoken(talk, 3) == GET + SET + GET


def test_it_goes_without_a_question_also_when_the_timer_was_set_for_what_has_gone_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seen to fail without the second timer."""
    monkeypatch.setattr(redis_link, "_BEHIND_SECONDS", 0.4)

    async def talk(link: RedisLink) -> None:
        await link.ask(GET)
        link.tell(SET, 1)
        await link.ask(GET)
        # Less than it may wait: the timer for the first one is still to come.
        await asyncio.sleep(0.2)
        link.tell(SET, 1)

    assert spoken(talk, 4) == GET + SET + GET + SET
