"""Errors as RFC 9457 problem details. Every error response of the API is built here."""

from http import HTTPStatus
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails, to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from iris_inference.api.schemas import FORMS
from iris_inference.errors import ProblemError

MEDIA_TYPE: Final = "application/problem+json"
# Defined by nginx, for a client that did not wait for its response.
CLIENT_CLOSED_REQUEST: Final = 499
# A batch of invalid numbers has a thousand errors; the first ones are enough.
MAX_LISTED_ERRORS: Final = 20
# Clients of the Open Inference Protocol look for the detail under another name.
INFERENCE_PROTOCOL_PREFIX: Final = "/v2"


def invalid_request(error: ValidationError) -> ProblemError:
    """The problem for an invalid request body."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    first = errors[0]
    path = ".".join(map(str, _location(first))) or "body"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", f"{path}: {first['msg']}{more}", errors=errors
    )


async def handle_problem(request: Request, error: Exception) -> Response:
    """Exception handler for ProblemError."""
    assert isinstance(error, ProblemError)  # noqa: S101 - registered for this type only
    return problem_response(request.scope, error)


def problem_response(scope: Scope, error: ProblemError) -> Response:
    """The response to a request that failed with `error`."""
    body: dict[str, Any] = _body(scope, error.status, error.kind, error.detail)
    if error.errors:
        body["errors"] = [
            {"location": _location(item), "message": item["msg"]} for item in error.errors[:MAX_LISTED_ERRORS]
        ]
    return _response(error.status, body, error.headers)


async def handle_http_exception(request: Request, error: Exception) -> Response:
    """Exception handler for the router's own errors: unknown paths and methods."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
    status = HTTPStatus(error.status_code)
    body = _body(request.scope, status, None, str(error.detail))
    return _response(status, body, dict(error.headers or {}))


async def handle_unexpected(request: Request, _error: Exception) -> Response:
    """Exception handler for everything else."""
    return unexpected_response(request.scope)


async def handle_disconnect(_request: Request, _error: Exception) -> Response:
    """Exception handler for a client that closed its connection."""
    return disconnected_response()


def disconnected_response() -> Response:
    """The response when the client is gone; its status is for the log and the metrics, where it is not our error."""
    return Response(status_code=CLIENT_CLOSED_REQUEST)


def unexpected_response(scope: Scope) -> Response:
    """The response to an unexpected error. It reveals nothing of the internals; the log has the stack trace."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    detail = "An unexpected error happened. The service's log has it under this request id."
    return _response(status, _body(scope, status, "internal-error", detail), None)


def _location(item: ErrorDetails) -> list[str | int]:
    """The location in the body as its sender knows it, without the tags of our union types."""
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
