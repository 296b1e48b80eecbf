"""Reads a request's body within bounds of size and time, so that no client can fill the memory or hold a place."""

import asyncio
from http import HTTPStatus
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from iris_inference.problems import ProblemError, invalid

Body = TypeVar("Body", bound=BaseModel)

# The rest of a body that is not read would be taken for the next request: the connection cannot be kept.
_CLOSE: Final = {"Connection": "close"}


async def read_json(request: Request, body_type: type[Body], limit_bytes: int, limit_seconds: float) -> Body:
    """Read, parse and validate a JSON body.

    Raises:
        ProblemError: 415 not JSON, 413 too large, 408 too slow, 422 not a valid `body_type`.
        ClientDisconnect: the client went away.
    """
    _check_content_type(request)
    content = await _read(request, limit_bytes, limit_seconds)
    try:
        return body_type.model_validate_json(content)
    except ValidationError as error:
        raise invalid(error) from None


def _check_content_type(request: Request) -> None:
    declared = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if declared != "application/json":
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            f"Content-Type must be application/json, not {declared[:100]!r}",
            headers=_CLOSE,
        )


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


def _too_large(limit_bytes: int) -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "body-too-large",
        f"the body is larger than {limit_bytes} bytes",
        headers=_CLOSE,
    )
