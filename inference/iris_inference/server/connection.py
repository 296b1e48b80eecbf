"""Connections with deadlines and size limits for everything that arrives before the application runs.

uvicorn closes a connection that is idle after a response, but waits for ever for a client that sends no request, sends
it byte by byte, or sends headers without end. It accepts any number of connections; here connection_limiter.py bounds
them.
"""

import asyncio
import select
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, cast
from uuid import uuid4

from pydantic_core import to_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn._types import HTTPScope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from iris_inference.api.body import BODY_RECEIVED
from iris_inference.api.problems import MEDIA_TYPE
from iris_inference.server.connection_limiter import PROBE_PATHS, ConnectionLimiter, ConnectionState, Slot
from iris_inference.server.fast_path import FastPath, FastPathRequest
from iris_inference.server.raw_response import CYCLE
from iris_inference.settings import Settings

MAX_HEADER_BYTES: Final = 64 * 1024
# The application's own deadline for a body comes first, because its response names the reason.
_BODY_GRACE_SECONDS: Final = 1.0
_NO_CAPACITY: Final = "all connections are taken; come again, or use those that you have"


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `close_if_overdue` is called periodically, which costs less than a timer for each request."""

    head_seconds: float
    body_seconds: float
    version: str
    limiter: ConnectionLimiter
    # What serves requests without the application, by path. When it is empty, the application serves all of them.
    fast_paths: Mapping[bytes, FastPath]
    # A RequestResponseCycle, a FastPathRequest, or None before the first request.
    cycle: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # When the headers or the body that the client is sending must be complete; None while nothing is expected.
        self._deadline: float | None = None
        self._in_headers = True
        self._header_bytes = 0
        self._has_dispatched = False
        self._idle_since = 0.0
        # The parts of a body that a fast path may serve once it is complete. None when the application has the request.
        self._buffered_body: list[bytes] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Start the deadline of the first request and reserve a slot."""
        super().connection_made(transport)
        self._expect_headers()
        slot = self.limiter.admit(self, self.loop.time())
        if slot is Slot.REFUSED:
            self._reject(HTTPStatus.SERVICE_UNAVAILABLE, _NO_CAPACITY)
        elif slot is Slot.PROBES_ONLY:
            # Probes get the application's own response, all other requests are refused.
            self.app = ProbesOnly(self.app, self.version)
            self.fast_paths = {}

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the slot, whichever side closed the connection."""
        self.limiter.release(self)
        super().connection_lost(exc)
        # It may refer to this connection, and the cycle of references would wait for the garbage collector.
        self.cycle = None

    def data_received(self, data: bytes) -> None:
        """Count the bytes that arrive before the end of the headers."""
        if self._deadline is None:
            self._expect_headers()
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._buffered_body is not None:
            self._forward_buffered(self._buffered_body)
        if self._in_headers and self._header_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self._reject(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"more than {MAX_HEADER_BYTES} bytes of headers")

    def on_message_begin(self) -> None:
        """The first byte of a request, which may be pipelined behind another one."""
        super().on_message_begin()
        if not self._in_headers:
            self._expect_headers()

    def on_headers_complete(self) -> None:
        """Start the application, unless a fast path may serve the request once its body is complete."""
        if (
            self.url in self.fast_paths
            and (self.cycle is None or self.cycle.response_complete)
            and self.parser.get_method() == b"POST"
            and self.parser.should_keep_alive()
        ):
            self._buffered_body = []
        else:
            self._start_application()

    def _start_application(self) -> None:
        super().on_headers_complete()
        self._has_dispatched = True
        self.scope["state"][CYCLE] = self.cycle
        self._in_headers = False
        self._deadline = self.loop.time() + self.body_seconds

    def on_body(self, body: bytes) -> None:
        """Receive a part of a body."""
        if self._buffered_body is None:
            super().on_body(body)
        else:
            self._buffered_body.append(body)

    def on_message_complete(self) -> None:
        """The request is complete: serve it on a fast path, or let the application go on with it."""
        parts = self._buffered_body
        if parts is not None:
            fast_path = self.fast_paths.get(self.url)
            if fast_path and fast_path.try_serve(self, cast(Scope, self.scope), b"".join(parts)):
                self._buffered_body = None
                self._has_dispatched = True
                self._in_headers = False
                self._deadline = None
                return
            self._forward_buffered(parts)
        super().on_message_complete()
        self._deadline = None
        # The application receives all of it at once, unless it is so large that reading was paused.
        self.scope["state"][BODY_RECEIVED] = True

    def _forward_buffered(self, parts: list[bytes]) -> None:
        """Pass the buffered parts of the body on to the application."""
        self._buffered_body = None
        self._start_application()
        for part in parts:
            super().on_body(part)

    def forward_to_application(self, scope: Scope, path: str, request: FastPathRequest | None = None) -> None:
        """Let the application respond to a request that a fast path accepted; `request` once it was enqueued."""
        scope.update(method="POST", path=path, raw_path=path.encode(), query_string=b"")
        cycle = RequestResponseCycle(
            scope=cast(HTTPScope, scope),
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=request is None or request.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.more_body = False
        cycle.disconnected = request is not None and request.disconnected
        if request is None or self.cycle is request:
            self.cycle = cycle
        self._start_asgi_task(cycle, self.app)

    def on_response_complete(self) -> None:
        """As uvicorn does, without a timer for each response: `close_if_overdue` closes idle connections."""
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._idle_since = self.loop.time()

    def send_400_response(self, msg: str) -> None:
        """Respond to malformed HTTP with a problem, like every other error."""
        self._reject(HTTPStatus.BAD_REQUEST, msg)

    def close_if_overdue(self, now: float) -> None:
        """Close the connection when a deadline has passed at `now`, by the loop's clock."""
        if self._deadline is None:
            if self.state() is ConnectionState.IDLE and now - self._idle_since >= self.timeout_keep_alive:
                self.transport.close()
            return
        if now < self._deadline or self.transport.is_closing():
            return
        if self._in_headers and self._header_bytes:
            self._reject(HTTPStatus.REQUEST_TIMEOUT, f"the headers did not arrive within {self.head_seconds:g} s")
        else:
            # No request has arrived, or the application has responded to a body that does not arrive.
            self.transport.close()

    def state(self) -> ConnectionState:
        """See `TrackedConnection`."""
        if not self._has_dispatched:
            return ConnectionState.READING if self._header_bytes else ConnectionState.NEW
        if not self.cycle.response_complete:
            return ConnectionState.ACTIVE
        # A request that begins after a response, or whose body goes on after one, is no more than a first one.
        return ConnectionState.IDLE if self._deadline is None else ConnectionState.READING

    def state_since(self) -> float:
        """See `TrackedConnection`."""
        if self._deadline is not None:
            return self._deadline - (self.head_seconds if self._in_headers else self.body_seconds)
        return self._idle_since if self.state() is ConnectionState.IDLE else self.loop.time()

    def evict(self) -> bool:
        """Close the connection unless unread data has just arrived. Returns whether it is closed."""
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        if poll.poll(0):
            return False
        self.transport.close()
        return True

    def _expect_headers(self) -> None:
        self._deadline = self.loop.time() + self.head_seconds
        self._in_headers = True
        self._header_bytes = 0

    def _reject(self, status: HTTPStatus, detail: str) -> None:
        """Respond without the application, which has not been called, and close the connection."""
        headers, body = _problem(status, detail, self.version)
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() + lines + b"\r\n" + body)
        self.transport.close()


class ProbesOnly:
    """Passes probes on to the application, refuses all other requests, and closes the connection with the response."""

    def __init__(self, app: ASGIApp, version: str) -> None:
        self._app = app
        self._version = version

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the one request of this connection."""
        if scope["path"] not in PROBE_PATHS:
            status = HTTPStatus.SERVICE_UNAVAILABLE
            headers, body = _problem(status, _NO_CAPACITY, self._version)
            await send({"type": "http.response.start", "status": status.value, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return

        async def send_closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, send_closing)


def _problem(status: HTTPStatus, detail: str, version: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers and the body of a response made without the application, after which the connection is closed."""
    request_id = uuid4().hex
    problem = {"title": status.phrase, "status": status.value, "detail": detail, "request_id": request_id}
    body = to_json({"type": "about:blank", **problem})
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        (b"x-request-id", request_id.encode()),
        (b"x-model-version", version.encode()),
    ]
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", b"1"))
    return headers, body


def bounded_protocol(
    settings: Settings, model_version: str, connection_limiter: ConnectionLimiter, routes: Iterable[FastPath]
) -> type[BoundedProtocol]:
    """A protocol class with these settings: uvicorn creates its instances and passes no arguments of ours."""
    by_path = {route.path.encode(): route for route in routes}

    class ConfiguredProtocol(BoundedProtocol):
        head_seconds = settings.head_seconds
        body_seconds = settings.body_seconds + _BODY_GRACE_SECONDS
        version = model_version
        limiter = connection_limiter
        fast_paths = by_path

    return ConfiguredProtocol
