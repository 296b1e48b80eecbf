"""A connection that asks one question after the other: as much of an HTTP client as copies need.

A general client (httpx, aiohttp) takes longer for a request than a model for its answer, and that time is the users'.
"""

import asyncio
from typing import Final, NamedTuple, cast

import httptools

# An answer to the largest request has a tenth of this.
LONGEST_ANSWER: Final = 1024 * 1024


class Reply(NamedTuple):
    """An answer: its status and its body."""

    status: int
    body: bytes


class NotAskedError(Exception):
    """There is no connection: nobody has got the question."""


class NotAnsweredError(Exception):
    """The question was sent, and no answer came, or one that is no HTTP."""


class Link:
    """Connects when it is first used, and again when the connection has ended. Belongs to one event loop."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._wire: _Wire | None = None

    async def ask(self, question: bytes) -> Reply:
        """Send a whole request and return the answer to it. Waits as long as it takes; who gives up cancels.

        Raises NotAskedError or NotAnsweredError.
        """
        wire = self._wire
        if wire is None or wire.ended:
            wire = await self._connected()
        elif (reply := await self._again(wire, question)) is not None:
            return reply
        else:
            wire = await self._connected()
        return await self._on(wire, question)

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._wire is not None:
            self._wire.abort()
            self._wire = None

    async def _again(self, wire: "_Wire", question: bytes) -> Reply | None:
        """Ask on a connection that was used before; None when the other side had just closed it."""
        try:
            return await self._on(wire, question)
        except NotAnsweredError:
            if wire.heard:
                raise
            # A connection that rests may be closed at any time. A copy that comes twice is recorded once.
            return None

    async def _on(self, wire: "_Wire", question: bytes) -> Reply:
        try:
            return await wire.ask(question)
        except asyncio.CancelledError:
            # What comes now would be taken for the answer to the next question.
            self.close()
            raise

    async def _connected(self) -> "_Wire":
        try:
            _, wire = await asyncio.get_running_loop().create_connection(_Wire, self._host, self._port)
        except OSError as error:
            raise NotAskedError(str(error)) from error
        self._wire = wire
        return wire


class _Wire(asyncio.Protocol):
    """An open connection."""

    def __init__(self) -> None:
        self.ended = False
        # Whether anything has come since the last question.
        self.heard = False
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Reply] | None = None
        self._body: list[bytes] = []
        self._size = 0
        self._transport: asyncio.Transport

    async def ask(self, question: bytes) -> Reply:
        """The answer to one request. Raises NotAnsweredError."""
        self._answer = asyncio.get_running_loop().create_future()
        self._body, self._size, self.heard = [], 0, False
        self._transport.write(question)
        return await self._answer

    def abort(self) -> None:
        """Close at once."""
        self.ended = True
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio's Protocol."""
        # uvloop's transports are none by their class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Part of asyncio's Protocol: an answer, or a part of one."""
        self.heard = True
        if self._answer is None or self._answer.done():
            # Nobody has asked.
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"this is not HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio's Protocol."""
        self._fail(f"the connection was closed{f': {exc}' if exc else ''}")

    def on_body(self, body: bytes) -> None:
        """Part of httptools' protocol."""
        self._size += len(body)
        if self._size > LONGEST_ANSWER:
            self._fail(f"the answer is longer than {LONGEST_ANSWER} bytes")
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Part of httptools' protocol: the answer is here."""
        if not self._parser.should_keep_alive():
            self.ended = True
            self._transport.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Reply(self._parser.get_status_code(), b"".join(self._body)))

    def _fail(self, why: str) -> None:
        self.abort()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NotAnsweredError(why))
