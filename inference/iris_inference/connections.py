"""Connections that nobody can hold for nothing: deadlines and bounds for what comes before the application is asked.

uvicorn closes a connection that is idle after an answer, and waits for ever for one that never asks, asks byte by byte,
or sends headers without end. It takes as many as come; here admission.py says who may.
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

from iris_inference.admission import PROBE_PATHS, Gate, Place, Standing
from iris_inference.body import IS_HERE
from iris_inference.exchange import Exchange, HotRoute
from iris_inference.problems import MEDIA_TYPE
from iris_inference.settings import Settings
from iris_inference.whole_answers import CYCLE

MAX_HEAD_BYTES: Final = 64 * 1024
# The application's own deadline for a body comes first: it answers with the reason.
_AFTER_THE_APPLICATION_SECONDS: Final = 1.0
_FULL: Final = "all connections are taken; come again, or use those that you have"


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `end_if_overdue` is called from time to time: a timer for each request would cost more."""

    head_seconds: float
    body_seconds: float
    version: str
    gate: Gate
    # What is served without the application, by path. None of it: the application is asked for all.
    hot: Mapping[bytes, HotRoute]
    # A RequestResponseCycle, an Exchange, or None before the first request.
    cycle: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # When what the client has begun must be there; None while it owes nothing.
        self._due: float | None = None
        self._in_head = True
        self._head_bytes = 0
        self._asked = False
        self._resting_since = 0.0
        # The parts of a body, while nobody has been asked: when all of it comes with the head, `hot` is. Else None.
        self._held: list[bytes] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Who connects has something to ask."""
        super().connection_made(transport)
        self._expect_head()
        place = self.gate.enter(self, self.loop.time())
        if place is Place.NONE:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, _FULL)
        elif place is Place.SPARE:
            # The application's own answer to a probe, and none of it to anybody else.
            self.app = ProbesOnly(self.app, self.version)
            self.hot = {}

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, whoever ended it."""
        self.gate.leave(self)
        super().connection_lost(exc)
        # It may have this connection, and together they would wait for the garbage collector.
        self.cycle = None

    def data_received(self, data: bytes) -> None:
        """Count what comes before the end of the headers."""
        if self._due is None:
            self._expect_head()
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._held is not None:
            self._let_go(self._held)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"more than {MAX_HEAD_BYTES} bytes of headers")

    def on_message_begin(self) -> None:
        """The first byte of a request, perhaps behind another one."""
        super().on_message_begin()
        if not self._in_head:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """From here on the application has the request, unless it waits for its body to be served without."""
        if (
            self.url in self.hot
            and (self.cycle is None or self.cycle.response_complete)
            and self.parser.get_method() == b"POST"
            and self.parser.should_keep_alive()
        ):
            self._held = []
        else:
            self._ask_application()

    def _ask_application(self) -> None:
        super().on_headers_complete()
        self._asked = True
        self.scope["state"][CYCLE] = self.cycle
        self._in_head = False
        self._due = self.loop.time() + self.body_seconds

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        if self._held is None:
            super().on_body(body)
        else:
            self._held.append(body)

    def on_message_complete(self) -> None:
        """The request is here; now it is our turn."""
        held = self._held
        if held is not None:
            if (hot := self.hot.get(self.url)) and hot.take(self, cast(Scope, self.scope), b"".join(held)):
                self._held = None
                self._asked = True
                self._in_head = False
                self._due = None
                return
            self._let_go(held)
        super().on_message_complete()
        self._due = None
        # The application gets all of it at once, unless it is so large that reading was paused.
        self.scope["state"][IS_HERE] = True

    def _let_go(self, held: list[bytes]) -> None:
        """Hand what was held on to the application."""
        self._held = None
        self._ask_application()
        for part in held:
            super().on_body(part)

    def hand_over(self, scope: Scope, path: str, begun: Exchange | None = None) -> None:
        """Have the application answer a request that was taken, and perhaps begun, without it."""
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
            keep_alive=begun is None or begun.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.more_body = False
        cycle.disconnected = begun is not None and begun.disconnected
        if begun is None or self.cycle is begun:
            self.cycle = cycle
        self._start_asgi_task(cycle, self.app)

    def on_response_complete(self) -> None:
        """What uvicorn does, without a timer for each answer: `end_if_overdue` looks after who does not ask again."""
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._resting_since = self.loop.time()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, answered as every other error is."""
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def end_if_overdue(self, now: float) -> None:
        """Close the connection when the client has been owing something for too long at `now`, by the loop's clock."""
        if self._due is None:
            if self.standing() is Standing.RESTING and now - self._resting_since >= self.timeout_keep_alive:
                self.transport.close()
            return
        if now < self._due or self.transport.is_closing():
            return
        if self._in_head and self._head_bytes:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"the headers did not arrive within {self.head_seconds:g} s")
        else:
            # Nothing was asked, or the application has answered for a body that does not come.
            self.transport.close()

    def standing(self) -> Standing:
        """What this connection is doing."""
        if not self._asked:
            return Standing.ASKING if self._head_bytes else Standing.SILENT
        if not self.cycle.response_complete:
            return Standing.SERVED
        # What was begun after an answer, or goes on after one, is as little as what was begun before the first.
        return Standing.RESTING if self._due is None else Standing.ASKING

    def since(self) -> float:
        """Since when, by the loop's clock."""
        if self._due is not None:
            return self._due - (self.head_seconds if self._in_head else self.body_seconds)
        return self._resting_since if self.standing() is Standing.RESTING else self.loop.time()

    def send_away(self) -> bool:
        """Make room for somebody else, unless a question has just arrived; whether it does."""
        arrived = select.poll()
        arrived.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        if arrived.poll(0):
            return False
        self.transport.close()
        return True

    def _expect_head(self) -> None:
        self._due = self.loop.time() + self.head_seconds
        self._in_head = True
        self._head_bytes = 0

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer without the application, which has not been asked, and hang up."""
        headers, body = _problem(status, detail, self.version)
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() + lines + b"\r\n" + body)
        self.transport.close()


class ProbesOnly:
    """Hands probes on to the application, refuses all else, and ends the connection with the answer."""

    def __init__(self, app: ASGIApp, version: str) -> None:
        self._app = app
        self._version = version

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the one request of this connection."""
        if scope["path"] not in PROBE_PATHS:
            status = HTTPStatus.SERVICE_UNAVAILABLE
            headers, body = _problem(status, _FULL, self._version)
            await send({"type": "http.response.start", "status": status.value, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return

        async def send_closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, send_closing)


def _problem(status: HTTPStatus, detail: str, version: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers and the body of an answer that is ours alone, after which the connection is closed."""
    request_id = uuid4().hex
    told = {"title": status.phrase, "status": status.value, "detail": detail, "request_id": request_id}
    body = to_json({"type": "about:blank", **told})
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


def bounded(
    settings: Settings, model_version: str, connection_gate: Gate, hot_routes: Iterable[HotRoute]
) -> type[BoundedProtocol]:
    """The protocol with these settings: uvicorn makes its connections by itself and hands nothing on to them."""
    by_path = {route.path.encode(): route for route in hot_routes}

    class Bounded(BoundedProtocol):
        head_seconds = settings.head_seconds
        body_seconds = settings.body_seconds + _AFTER_THE_APPLICATION_SECONDS
        version = model_version
        gate = connection_gate
        hot = by_path

    return Bounded
