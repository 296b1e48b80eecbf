"""Errors as RFC 9457 problem details. Every error answer of the API is made here."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails, to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from iris_inference.schemas import FORMS

MEDIA_TYPE: Final = "application/problem+json"
# Of nginx's making, for a client that did not wait for its answer.
CLIENT_CLOSED_REQUEST: Final = 499
# A batch of wrong numbers has a thousand errors; the first ones say it all.
MAX_LISTED_ERRORS: Final = 20
# Clients of the Open Inference Protocol look for the detail under another name.
INFERENCE_PROTOCOL_PREFIX: Final = "/v2"


class ProblemError(Exception):
    """An answer that is an error: its status, a kind that programs compare, and a sentence for people."""

    def __init__(
        self,
        status: HTTPStatus,
        kind: str,
        detail: str,
        errors: Sequence[ErrorDetails] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = headers


def invalid(error: ValidationError) -> ProblemError:
    """The problem for a body that is no valid request."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    first = errors[0]
    place = ".".join(map(str, _location(first))) or "body"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", f"{place}: {first['msg']}{more}", errors=errors
    )


async def answer_problem(request: Request, error: Exception) -> Response:
    """Exception handler for ProblemError."""
    assert isinstance(error, ProblemError)  # noqa: S101 - registered for this type only
    return problem(request.scope, error)


def problem(scope: Scope, error: ProblemError) -> Response:
    """The answer to a request that ends with `error`."""
    body: dict[str, Any] = _body(scope, error.status, error.kind, error.detail)
    if error.errors:
        body["errors"] = [
            {"location": _location(item), "message": item["msg"]} for item in error.errors[:MAX_LISTED_ERRORS]
        ]
    return _response(error.status, body, error.headers)


async def answer_http_exception(request: Request, error: Exception) -> Response:
    """Exception handler for what the router itself refuses: unknown paths and methods."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
    status = HTTPStatus(error.status_code)
    body = _body(request.scope, status, None, str(error.detail))
    return _response(status, body, dict(error.headers or {}))


async def answer_unexpected(request: Request, _error: Exception) -> Response:
    """Exception handler for everything else."""
    return unexpected(request.scope)


async def answer_gone(_request: Request, _error: Exception) -> Response:
    """Exception handler for a client that went away."""
    return gone()


def gone() -> Response:
    """Nobody reads this; the status is for the log and the metrics, where it must not look like our error."""
    return Response(status_code=CLIENT_CLOSED_REQUEST)


def unexpected(scope: Scope) -> Response:
    """The answer when nobody thought of what happened. Says nothing of the inside; the log has the stack."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    detail = "An unexpected error happened. The service's log has it under this request id."
    return _response(status, _body(scope, status, "internal-error", detail), None)


def _location(item: ErrorDetails) -> list[str | int]:
    """The place in the body as its sender knows it, without the names of our forms."""
    return [part for part in item["loc"] if part not in FORMS]


def _body(scope: Scope, status: HTTPStatus, kind: str | None, detail: str) -> dict[str, Any]:
    body = {
        "type": f"urn:iris-inference:{kind}" if kind else "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "request_id": scope["state"]["request_id"],
    }
    if scope["path"].startswith(INFERENCE_PROTOCOL_PREFIX):
        body["error"] = detail
    return body


def _response(status: HTTPStatus, body: dict[str, Any], headers: dict[str, str] | None) -> Response:
    return Response(to_json(body), status.value, headers, MEDIA_TYPE)
