"""Reads requests and writes successful responses in one piece, bypassing uvicorn's `receive` and `send`.

ASGI passes a response as a list of headers and then a body, and uvicorn matches each header against regular expressions
before it writes. The headers of a successful prediction are always the same four, of known form: what is left is to
write them and to mark uvicorn's RequestResponseCycle as complete, as its own `send` does.
"""

from typing import Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

# In a request's state: its RequestResponseCycle. Missing under another server, where `send` writes everything. It must
# be removed: the cycle refers to the state, and the reference cycle would wait for the garbage collector.
CYCLE: Final = "uvicorn_cycle"


def buffered_body(cycle: RequestResponseCycle | None) -> bytes | None:
    """Take the body of a request that is complete, as `receive` would. None: `receive` has to be awaited."""
    if cycle is None or cycle.more_body or cycle.disconnected or cycle.response_complete:
        return None
    if cycle.waiting_for_100_continue or cycle.flow.read_paused:
        return None
    body = bytes(cycle.body)
    cycle.body = bytearray()
    cycle.message_event.clear()
    return body


class RawResponseWriter:
    """Writes responses with status 200 and JSON. Belongs to one server."""

    def __init__(self, model_version: str) -> None:
        self._suffix = f"\r\nx-model-version: {model_version}\r\n\r\n".encode()
        self._default_headers: list[tuple[bytes, bytes]] | None = None
        self._prefix = b""

    def write(self, cycle: RequestResponseCycle | None, request_id: str, body: bytes) -> bool:
        """Respond with `body`. False: nothing was done, because ASGI's `send` has to be used."""
        if cycle is None or cycle.response_started or not cycle.keep_alive or cycle.flow.write_paused:
            return False
        if cycle.disconnected or cycle.transport.is_closing():
            # The client is gone.
            return True
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(self.render(cycle.default_headers, request_id, body))
        cycle.message_event.set()
        cycle.on_response()
        return True

    def render(self, default_headers: list[tuple[bytes, bytes]], request_id: str, body: bytes) -> bytes:
        """The bytes of a response. `default_headers` are those of uvicorn."""
        if default_headers is not self._default_headers:
            self._set_default_headers(default_headers)
        return b"".join((self._prefix, b"%d" % len(body), _CONTENT_TYPE, request_id.encode(), self._suffix, body))

    def _set_default_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Cache uvicorn's own headers, among them the date: it is a new list once a second."""
        lines = b"".join([name + b": " + value + b"\r\n" for name, value in headers])
        self._prefix = b"HTTP/1.1 200 OK\r\n" + lines + b"content-length: "
        self._default_headers = headers


_CONTENT_TYPE: Final = b"\r\ncontent-type: application/json\r\nx-request-id: "
