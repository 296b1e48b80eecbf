"""A small HTTP server with a configurable response to each request, which records the bodies."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

Behaviour = Callable[[int], Awaitable[bytes | None]]
"""Gets the number of earlier requests and returns the whole response; None closes the connection instead."""


def response(status: str = "200 OK", body: bytes = b"{}") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


async def always_good(_before: int) -> bytes:
    return response()


@dataclass
class FakeServer:
    port: int = 0
    bodies: list[bytes] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, behaviour: Behaviour) -> None:
        """One connection, until the client or the behaviour closes it."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(length))
                answered = await behaviour(len(self.bodies) - 1)
                if answered is None:
                    break
                writer.write(answered)


@contextlib.contextmanager
def run_fake_server(behaviour: Behaviour) -> Iterator[FakeServer]:
    """Serve on loopback, beside the test, until the block ends."""
    seen = FakeServer()
    ready, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(seen, behaviour, ready, over)))
    thread.start()
    assert ready.wait(10)
    try:
        yield seen
    finally:
        over.set()
        thread.join()


async def _serve(seen: FakeServer, behaviour: Behaviour, ready: threading.Event, over: threading.Event) -> None:
    connections: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await seen.serve(reader, writer, behaviour)
        except asyncio.CancelledError:
            pass  # the test is over; asyncio.streams would report the end of its task as an error
        finally:
            connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        seen.port = server.sockets[0].getsockname()[1]
        ready.set()
        await asyncio.to_thread(over.wait)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections)
