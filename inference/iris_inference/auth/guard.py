"""Guards the protected routes: authenticates a request's key, or raises an RFC 9457 problem."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Protocol

from starlette.types import Scope as RequestScope

from iris_inference.auth.authenticator import Authenticator, extract_token
from iris_inference.auth.identity import Identity, Outcome, Refusal, Scope
from iris_inference.errors import ProblemError

REALM: Final = 'Bearer realm="iris-inference"'
# The names of the two ways to send a key in the OpenAPI document.
_BEARER: Final = "bearerKey"
_HEADER: Final = "headerKey"
_REMEDY: Final = (
    "send one as Authorization: Bearer <key>; whoever runs the service makes it with iris-inference keys create"
)


class Guard(Protocol):
    """Authorizes requests to a route."""

    @property
    def ready(self) -> bool:
        """Whether requests can be authorized yet."""
        ...

    @property
    def statuses(self) -> Sequence[int]:
        """The status codes of a guarded route besides its own."""
        ...

    @property
    def schemes(self) -> Mapping[str, Any]:
        """The security schemes, for the OpenAPI document."""
        ...

    def openapi_extra(self, scope: Scope) -> dict[str, Any]:
        """The `openapi_extra` of a guarded route."""
        ...

    def check(self, request: RequestScope, scope: Scope) -> None:
        """Authorize the request, or raise ProblemError: 401, 403, 429 or 503."""
        ...


class OpenGuard:
    """IRIS_AUTH=off: every request is allowed."""

    ready: Final = True
    statuses: Final = ()
    schemes: Final[Mapping[str, Any]] = {}

    def openapi_extra(self, scope: Scope) -> dict[str, Any]:  # noqa: ARG002 - as the Protocol has it
        """No security requirement."""
        return {}

    def check(self, request: RequestScope, scope: Scope) -> None:
        """Allow every request."""


class KeyGuard:
    """IRIS_AUTH=required: a request needs a key with the route's scope, and counts against the key's rate."""

    statuses: Final = (401, 403, 429)
    schemes: Final[Mapping[str, Any]] = {
        _BEARER: {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer iris_...`"},
        _HEADER: {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "the same key, by itself"},
    }

    def __init__(self, authenticator: Authenticator, max_body_bytes: int) -> None:
        self._authenticator = authenticator
        self._max_body_bytes = max_body_bytes

    @property
    def ready(self) -> bool:
        """Whether the keys have been read at least once."""
        return self._authenticator.loaded

    def openapi_extra(self, scope: Scope) -> dict[str, Any]:
        """Either security scheme; OpenAPI 3.1 allows scopes for both."""
        return {"security": [{_BEARER: [scope.value]}, {_HEADER: [scope.value]}]}

    def check(self, request: RequestScope, scope: Scope) -> None:
        """Authorize the request and put its user into the request's state, or raise ProblemError."""
        result = self._authenticator.authenticate(extract_token(request["state"]["headers"]), scope)
        identity = result if isinstance(result, Identity) else result.identity
        if identity is not None:
            state = request["state"]
            state["user"] = identity.client
            state["key_id"] = identity.key_id
        if isinstance(result, Refusal):
            raise problem(result, scope, close=_announces_large_body(request["headers"], self._max_body_bytes))


def problem(refusal: Refusal, scope: Scope, *, close: bool = False) -> ProblemError:
    """The problem for a refusal. It reveals nothing that the caller does not know, and never repeats a key."""
    status, kind, detail = _PROBLEMS[refusal.outcome]
    headers: dict[str, str] = {}
    if status is HTTPStatus.UNAUTHORIZED:
        error = "" if refusal.outcome is Outcome.MISSING else ', error="invalid_token"'
        headers["WWW-Authenticate"] = REALM + error
    elif status is HTTPStatus.FORBIDDEN:
        headers["WWW-Authenticate"] = f'{REALM}, error="insufficient_scope", scope="{scope}"'
    if refusal.retry_seconds:
        headers["Retry-After"] = str(math.ceil(refusal.retry_seconds))
    if refusal.outcome is Outcome.LIMITED and refusal.identity is not None:
        headers |= _rate_limit_headers(refusal.identity, refusal.retry_seconds)
    if close:
        headers["Connection"] = "close"
    return ProblemError(status, kind, detail.format(scope=scope, remedy=_REMEDY), headers=headers)


def _rate_limit_headers(identity: Identity, retry_seconds: float) -> dict[str, str]:
    """The fields of draft-ietf-httpapi-ratelimit-headers: quota `q` in window `w`, remaining `r`, reset in `t` s."""
    bucket = identity.bucket
    window = max(1, math.ceil(bucket.burst / bucket.rate))
    return {
        "RateLimit-Policy": f'"key";q={bucket.burst};w={window}',
        "RateLimit": f'"key";r=0;t={math.ceil(retry_seconds)}',
    }


def _announces_large_body(headers: list[tuple[bytes, bytes]], limit: int) -> bool:
    """Whether the body is too large, or of unknown size, to be read only to keep the connection open."""
    for name, value in headers:
        if name == b"transfer-encoding":
            return True
        if name == b"content-length":
            return not value.isdigit() or int(value[:20]) > limit
    return False


_PROBLEMS: Final = {
    Outcome.MISSING: (HTTPStatus.UNAUTHORIZED, "key-missing", "an API key is needed: {remedy}"),
    Outcome.UNKNOWN: (
        HTTPStatus.UNAUTHORIZED,
        "key-unknown",
        "this API key is not known (a new one is within seconds): {remedy}",
    ),
    Outcome.REVOKED: (HTTPStatus.UNAUTHORIZED, "key-revoked", "this API key was revoked: {remedy}"),
    Outcome.EXPIRED: (HTTPStatus.UNAUTHORIZED, "key-expired", "this API key has expired: {remedy}"),
    Outcome.SCOPE: (
        HTTPStatus.FORBIDDEN,
        "scope-missing",
        "this API key lacks the scope {scope}; scopes are given when a key is made, with iris-inference keys create",
    ),
    Outcome.LIMITED: (
        HTTPStatus.TOO_MANY_REQUESTS,
        "rate-limited",
        "this API key has used up its rate; Retry-After says when to come again",
    ),
    Outcome.UNAVAILABLE: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "keys-unavailable",
        "API keys cannot be checked now, because the database that holds them does not answer; come again",
    ),
}
