"""Connections that nobody can hold for nothing: deadlines and bounds for what comes before the application is asked.

uvicorn closes a connection that is idle after an answer, and waits for ever for one that never asks, asks byte by byte,
or sends headers without end.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

from pydantic_core import to_json
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from iris_inference.body import IS_HERE
from iris_inference.problems import MEDIA_TYPE
from iris_inference.settings import Settings
from iris_inference.whole_answers import CYCLE

MAX_HEAD_BYTES: Final = 64 * 1024
# The application's own deadline for a body comes first: it answers with the reason.
_AFTER_THE_APPLICATION_SECONDS: Final = 1.0


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `end_if_overdue` is called from time to time: a timer for each request would cost more."""

    head_seconds: float
    body_seconds: float
    version: str

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # When what the client has begun must be there; None while it owes nothing.
        self._due: float | None = None
        self._in_head = True
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Who connects has something to ask."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Count what comes before the end of the headers."""
        if self._due is None:
            self._expect_head()
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"more than {MAX_HEAD_BYTES} bytes of headers")

    def on_message_begin(self) -> None:
        """The first byte of a request, perhaps behind another one."""
        super().on_message_begin()
        if not self._in_head:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """From here on the application has the request."""
        super().on_headers_complete()
        self.scope["state"][CYCLE] = self.cycle
        self._in_head = False
        self._due = self.loop.time() + self.body_seconds

    def on_message_complete(self) -> None:
        """The request is here; now it is our turn."""
        super().on_message_complete()
        self._due = None
        # The application gets all of it at once, unless it is so large that reading was paused.
        self.scope["state"][IS_HERE] = True

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, answered as every other error is."""
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def end_if_overdue(self, now: float) -> None:
        """Close the connection when the client has been owing something for too long at `now`, by the loop's clock."""
        if self._due is None or now < self._due or self.transport.is_closing():
            return
        if self._in_head and self._head_bytes:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"the headers did not arrive within {self.head_seconds:g} s")
        else:
            # Nothing was asked, or the application has answered for a body that does not come.
            self.transport.close()

    def _expect_head(self) -> None:
        self._due = self.loop.time() + self.head_seconds
        self._in_head = True
        self._head_bytes = 0

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer without the application, which has not been asked, and hang up."""
        request_id = uuid4().hex
        told = {"title": status.phrase, "status": status.value, "detail": detail, "request_id": request_id}
        body = to_json({"type": "about:blank", **told})
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n"
            f"x-request-id: {request_id}\r\nx-model-version: {self.version}\r\n\r\n"
        )
        self.transport.write(head.encode("latin-1") + body)
        self.transport.close()


def bounded(settings: Settings, model_version: str) -> type[BoundedProtocol]:
    """The protocol with these settings: uvicorn makes its connections by itself and hands nothing on to them."""

    class Bounded(BoundedProtocol):
        head_seconds = settings.head_seconds
        body_seconds = settings.body_seconds + _AFTER_THE_APPLICATION_SECONDS
        version = model_version

    return Bounded
