"""Reads a request's body with limits of size and time, so that no client can exhaust memory or connections."""

import asyncio
import zlib
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope

from iris_inference.api.problems import invalid_request
from iris_inference.errors import ProblemError

Body = TypeVar("Body", bound=BaseModel)

JSON: Final = "application/json"
# In a request's state when its body has arrived, so that reading needs no timeout: a timer costs as much as parsing.
BODY_RECEIVED: Final = "body_received"
# In a request's state: the body itself, when it was read without `receive`.
BODY: Final = "body"
_JSON: Final = JSON.encode()
# The `wbits` that tell zlib the container format. By RFC 9110, "deflate" is in the format of zlib.
_ENCODINGS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
# The unread rest of a body would be taken for the next request, so the connection cannot be reused.
_CLOSE: Final = {"Connection": "close"}

Headers = Mapping[bytes, bytes]


def headers_of(scope: Scope) -> Headers:
    """The headers of a request by lower-case name; of a repeated one, the first."""
    return dict(scope["headers"][::-1])


async def read_json(request: Request, body_type: type[Body], limit_bytes: int, limit_seconds: float) -> Body:
    """Read, parse and validate a JSON body.

    Raises:
        ProblemError: 415 not JSON, 413 too large, 408 too slow, 422 not a valid `body_type`.
        ClientDisconnect: the client went away.
    """
    return parse_json(await read_body(request.scope, request.receive, (JSON,), limit_bytes, limit_seconds), body_type)


def parse_json(content: bytes, body_type: type[Body]) -> Body:
    """Validate JSON. Raises ProblemError 422."""
    try:
        return body_type.model_validate_json(content)
    except ValidationError as error:
        raise invalid_request(error) from None


async def read_body(
    scope: Scope, receive: Receive, accepted: Collection[str], limit_bytes: int, limit_seconds: float
) -> bytes:
    """Read a body of one of the `accepted` media types, and decompress it.

    Neither the body nor its decompressed content may be larger than `limit_bytes`.

    Raises:
        ProblemError: 415 another media type or encoding, 413 too large, 408 too slow, 422 damaged compression.
        ClientDisconnect: the client went away.
    """
    headers: Headers = scope["state"]["headers"]
    if headers.get(b"content-type", _JSON) != _JSON:
        _check_content_type(headers, accepted)
    encoding = _content_encoding(headers) if b"content-encoding" in headers else None
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > limit_bytes:
        raise _too_large(limit_bytes)
    state = scope["state"]
    content: bytes | None = state.pop(BODY, None)
    if content is not None:
        if len(content) > limit_bytes:
            raise _too_large(limit_bytes)
    elif BODY_RECEIVED in state:
        content = await _read(receive, limit_bytes)
    else:
        try:
            async with asyncio.timeout(limit_seconds):
                content = await _read(receive, limit_bytes)
        except TimeoutError:
            raise _too_slow(limit_seconds) from None
    return content if encoding is None else _decompressed(content, encoding, limit_bytes)


def _check_content_type(headers: Headers, accepted: Collection[str]) -> None:
    declared = headers[b"content-type"].decode("latin-1").partition(";")[0].strip().lower()
    if declared not in accepted:
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            f"Content-Type must be {' or '.join(accepted)}, not {declared[:100]!r}",
            headers=_CLOSE,
        )


def _content_encoding(headers: Headers) -> str | None:
    declared = headers[b"content-encoding"].decode("latin-1").strip().lower()
    if declared == "identity":
        return None
    if declared not in _ENCODINGS:
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported-content-encoding",
            f"Content-Encoding must be {' or '.join(_ENCODINGS)}, not {declared[:100]!r}",
            headers={**_CLOSE, "Accept-Encoding": ", ".join(_ENCODINGS)},
        )
    return declared


async def _read(receive: Receive, limit_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


def _decompressed(content: bytes, encoding: str, limit_bytes: int) -> bytes:
    decompressor = zlib.decompressobj(_ENCODINGS[encoding])
    try:
        # At most one byte beyond the limit is produced, however much the client has compressed.
        decompressed = decompressor.decompress(content, limit_bytes + 1)
    except zlib.error:
        decompressed = b""
    if len(decompressed) > limit_bytes:
        raise _too_large(limit_bytes)
    if not decompressor.eof or decompressor.unused_data:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", f"the body is no whole {encoding} stream"
        )
    return decompressed


def _too_slow(limit_seconds: float) -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_TIMEOUT,
        "body-too-slow",
        f"the body did not arrive within {limit_seconds:g} s",
        headers=_CLOSE,
    )


def _too_large(limit_bytes: int) -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "body-too-large",
        f"the body is larger than {limit_bytes} bytes",
        headers=_CLOSE,
    )
