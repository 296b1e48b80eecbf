"""Reads a request's body within bounds of size and time, so that no client can fill the memory or hold a place."""

import asyncio
import zlib
from collections.abc import Collection
from http import HTTPStatus
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from iris_inference.problems import ProblemError, invalid

Body = TypeVar("Body", bound=BaseModel)

JSON: Final = "application/json"
# zlib's word for the wrapping of the compressed data. "deflate" has, by RFC 9110, the wrapping of zlib.
_ENCODINGS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
# The rest of a body that is not read would be taken for the next request: the connection cannot be kept.
_CLOSE: Final = {"Connection": "close"}


async def read_json(request: Request, body_type: type[Body], limit_bytes: int, limit_seconds: float) -> Body:
    """Read, parse and validate a JSON body.

    Raises:
        ProblemError: 415 not JSON, 413 too large, 408 too slow, 422 not a valid `body_type`.
        ClientDisconnect: the client went away.
    """
    return parse_json(await read_body(request, (JSON,), limit_bytes, limit_seconds), body_type)


def parse_json(content: bytes, body_type: type[Body]) -> Body:
    """Validate JSON. Raises ProblemError 422."""
    try:
        return body_type.model_validate_json(content)
    except ValidationError as error:
        raise invalid(error) from None


async def read_body(request: Request, accepted: Collection[str], limit_bytes: int, limit_seconds: float) -> bytes:
    """Read a body of one of the `accepted` media types, and unpack it when it is compressed.

    Neither what is sent nor what it unpacks to may be larger than `limit_bytes`.

    Raises:
        ProblemError: 415 another media type or encoding, 413 too large, 408 too slow, 422 damaged compression.
        ClientDisconnect: the client went away.
    """
    _check_content_type(request, accepted)
    encoding = _content_encoding(request)
    content = await _read(request, limit_bytes, limit_seconds)
    return content if encoding is None else _unpacked(content, encoding, limit_bytes)


def _check_content_type(request: Request, accepted: Collection[str]) -> None:
    declared = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if declared not in accepted:
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            f"Content-Type must be {' or '.join(accepted)}, not {declared[:100]!r}",
            headers=_CLOSE,
        )


def _content_encoding(request: Request) -> str | None:
    declared = request.headers.get("content-encoding", "identity").strip().lower()
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


async def _read(request: Request, limit_bytes: int, limit_seconds: float) -> bytes:
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit_bytes:
        raise _too_large(limit_bytes)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limit_seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit_bytes:
                    raise _too_large(limit_bytes)
                chunks.append(chunk)
    except TimeoutError:
        raise ProblemError(
            HTTPStatus.REQUEST_TIMEOUT,
            "body-too-slow",
            f"the body did not arrive within {limit_seconds:g} s",
            headers=_CLOSE,
        ) from None
    return b"".join(chunks)


def _unpacked(content: bytes, encoding: str, limit_bytes: int) -> bytes:
    unpacking = zlib.decompressobj(_ENCODINGS[encoding])
    try:
        # Never more than a byte beyond the limit is made, however much the client has packed.
        unpacked = unpacking.decompress(content, limit_bytes + 1)
    except zlib.error:
        unpacked = b""
    if len(unpacked) > limit_bytes:
        raise _too_large(limit_bytes)
    if not unpacking.eof or unpacking.unused_data:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", f"the body is no whole {encoding} stream"
        )
    return unpacked


def _too_large(limit_bytes: int) -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "body-too-large",
        f"the body is larger than {limit_bytes} bytes",
        headers=_CLOSE,
    )
