"""A minimal HTTP client for mirrored requests: one connection, one request after the other.

A general client (httpx, aiohttp) takes longer for a request than the model for a prediction, and that time is the
users'.
"""

import asyncio
from typing import Final, NamedTuple, cast

import httptools

# The response to the largest request has a tenth of this.
MAX_RESPONSE_BYTES: Final = 1024 * 1024


class HttpResponse(NamedTuple):
    """A response: its status and its body."""

    status: int
    body: bytes


class NotSentError(Exception):
    """There is no connection: the request was not sent."""


class NoResponseError(Exception):
    """The request was sent, and no response arrived, or one that is not HTTP."""


class HttpClient:
    """Connects on first use, and again when the connection was closed. Belongs to one event loop."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._protocol: _HttpProtocol | None = None

    async def send(self, request: bytes) -> HttpResponse:
        """Send an encoded request and return its response. There is no timeout; callers cancel.

        Raises NotSentError or NoResponseError.
        """
        protocol = self._protocol
        if protocol is None or protocol.closed:
            protocol = await self._connect()
        elif (response := await self._send_on_reused(protocol, request)) is not None:
            return response
        else:
            protocol = await self._connect()
        return await self._send_on(protocol, request)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._protocol is not None:
            self._protocol.abort()
            self._protocol = None

    async def _send_on_reused(self, protocol: "_HttpProtocol", request: bytes) -> HttpResponse | None:
        """Send on a connection that was used before; None when the server had just closed it."""
        try:
            return await self._send_on(protocol, request)
        except NoResponseError:
            if protocol.has_received:
                raise
            # An idle connection may be closed at any time. A request that arrives twice is recorded once.
            return None

    async def _send_on(self, protocol: "_HttpProtocol", request: bytes) -> HttpResponse:
        try:
            return await protocol.send(request)
        except asyncio.CancelledError:
            # Later data would be taken for the response to the next request.
            self.close()
            raise

    async def _connect(self) -> "_HttpProtocol":
        try:
            _, protocol = await asyncio.get_running_loop().create_connection(_HttpProtocol, self._host, self._port)
        except OSError as error:
            raise NotSentError(str(error)) from error
        self._protocol = protocol
        return protocol


class _HttpProtocol(asyncio.Protocol):
    """An open connection."""

    def __init__(self) -> None:
        self.closed = False
        # Whether anything was received since the last request.
        self.has_received = False
        self._parser = httptools.HttpResponseParser(self)
        self._response: asyncio.Future[HttpResponse] | None = None
        self._body: list[bytes] = []
        self._size = 0
        self._transport: asyncio.Transport

    async def send(self, request: bytes) -> HttpResponse:
        """Send one request and return its response. Raises NoResponseError."""
        self._response = asyncio.get_running_loop().create_future()
        self._body, self._size, self.has_received = [], 0, False
        self._transport.write(request)
        return await self._response

    def abort(self) -> None:
        """Close at once."""
        self.closed = True
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio's Protocol."""
        # uvloop's transports do not derive from asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Part of asyncio's Protocol: a response, or a part of one."""
        self.has_received = True
        if self._response is None or self._response.done():
            # There is no request in flight.
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
        if self._size > MAX_RESPONSE_BYTES:
            self._fail(f"the response is longer than {MAX_RESPONSE_BYTES} bytes")
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Part of httptools' protocol: the response is complete."""
        if not self._parser.should_keep_alive():
            self.closed = True
            self._transport.close()
        if self._response is not None and not self._response.done():
            self._response.set_result(HttpResponse(self._parser.get_status_code(), b"".join(self._body)))

    def _fail(self, reason: str) -> None:
        self.abort()
        if self._response is not None and not self._response.done():
            self._response.set_exception(NoResponseError(reason))
