"""Requests and good answers in one piece, past uvicorn's ways to hand on and write any in parts.

ASGI hands an answer over as a list of headers and then a body, and uvicorn looks through each header with regular
expressions before it writes. The headers of a good prediction are always the same four, of known form: what is left to
do is to write them and to tell uvicorn's cycle of request and response that it is complete, as its own `send` does.
"""

from typing import Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

# In a request's state: uvicorn's cycle of it. Not there under another server, where `send` does all. To be taken out:
# the cycle holds the state, and together they would wait for the garbage collector.
CYCLE: Final = "uvicorn_cycle"


def whole_body(cycle: RequestResponseCycle | None) -> bytes | None:
    """Take the body of a request that is here, as `receive` would. None: `receive` has to be asked for it."""
    if cycle is None or cycle.more_body or cycle.disconnected or cycle.response_complete:
        return None
    if cycle.waiting_for_100_continue or cycle.flow.read_paused:
        return None
    body = bytes(cycle.body)
    cycle.body = bytearray()
    cycle.message_event.clear()
    return body


class WholeAnswers:
    """Writes answers with status 200 and JSON. Belongs to one server."""

    def __init__(self, model_version: str) -> None:
        self._end = f"\r\nx-model-version: {model_version}\r\n\r\n".encode()
        self._defaults: list[tuple[bytes, bytes]] | None = None
        self._start = b""

    def write(self, cycle: RequestResponseCycle | None, request_id: str, body: bytes) -> bool:
        """Answer the request with `body`. False: nothing was done, because this is no case for it."""
        if cycle is None or cycle.response_started or not cycle.keep_alive or cycle.flow.write_paused:
            return False
        if cycle.disconnected or cycle.transport.is_closing():
            # Nobody reads it any more.
            return True
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(self.bytes_of(cycle.default_headers, request_id, body))
        cycle.message_event.set()
        cycle.on_response()
        return True

    def bytes_of(self, default_headers: list[tuple[bytes, bytes]], request_id: str, body: bytes) -> bytes:
        """An answer as it goes out. `default_headers` are those of uvicorn."""
        if default_headers is not self._defaults:
            self._take_defaults(default_headers)
        return b"".join((self._start, b"%d" % len(body), _TYPE, request_id.encode(), self._end, body))

    def _take_defaults(self, headers: list[tuple[bytes, bytes]]) -> None:
        """uvicorn's own headers, the date: a new list once a second."""
        lines = b"".join([name + b": " + value + b"\r\n" for name, value in headers])
        self._start = b"HTTP/1.1 200 OK\r\n" + lines + b"content-length: "
        self._defaults = headers


_TYPE: Final = b"\r\ncontent-type: application/json\r\nx-request-id: "
