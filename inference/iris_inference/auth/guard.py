"""The door of the protected routes: a request's key in, an identity or an RFC 9457 problem out."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Protocol

from starlette.types import Scope as RequestScope

from iris_inference.auth.authenticator import Authenticator, token_of
from iris_inference.auth.identity import Identity, Outcome, Refusal, Scope
from iris_inference.problems import ProblemError

REALM: Final = 'Bearer realm="iris-inference"'
# The names of the two ways to send a key in the OpenAPI document.
_BEARER: Final = "bearerKey"
_HEADER: Final = "headerKey"
_REMEDY: Final = (
    "send one as Authorization: Bearer <key>; whoever runs the service makes it with iris-inference keys create"
)


class Guard(Protocol):
    """Decides who may use a route."""

    @property
    def ready(self) -> bool:
        """Whether it can decide at all."""
        ...

    @property
    def statuses(self) -> Sequence[int]:
        """What a guarded route may answer besides its own errors."""
        ...

    @property
    def schemes(self) -> Mapping[str, Any]:
        """The ways to send a key, for the OpenAPI document."""
        ...

    def described(self, scope: Scope) -> dict[str, Any]:
        """What a guarded route says in its `openapi_extra`."""
        ...

    def check(self, request: RequestScope, scope: Scope) -> None:
        """Let the request pass, or raise ProblemError: 401, 403, 429 or 503."""
        ...


class OpenGuard:
    """IRIS_AUTH=off: everybody may."""

    ready: Final = True
    statuses: Final = ()
    schemes: Final[Mapping[str, Any]] = {}

    def described(self, scope: Scope) -> dict[str, Any]:  # noqa: ARG002 - as the Protocol has it
        """Nothing to say."""
        return {}

    def check(self, request: RequestScope, scope: Scope) -> None:
        """Nobody is asked for anything."""


class KeyGuard:
    """IRIS_AUTH=required: who has a key with the route's scope may, as often as the key's rate says."""

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
        """Whether the keys were ever read."""
        return self._authenticator.loaded

    def described(self, scope: Scope) -> dict[str, Any]:
        """Either way of sending a key; OpenAPI 3.1 lets the scope be named for both."""
        return {"security": [{_BEARER: [scope.value]}, {_HEADER: [scope.value]}]}

    def check(self, request: RequestScope, scope: Scope) -> None:
        """Let the request pass, with its user in the request's state, or raise ProblemError."""
        found = self._authenticator.admit(token_of(request["state"]["headers"]), scope)
        identity = found if isinstance(found, Identity) else found.identity
        if identity is not None:
            state = request["state"]
            state["user"] = identity.client
            state["key_id"] = identity.key_id
        if isinstance(found, Refusal):
            raise problem(found, scope, close=_large(request["headers"], self._max_body_bytes))


def problem(refusal: Refusal, scope: Scope, *, close: bool = False) -> ProblemError:
    """A refusal as its caller reads it. It says nothing that the caller does not know, and never repeats a key."""
    status, kind, detail = _TOLD[refusal.outcome]
    headers: dict[str, str] = {}
    if status is HTTPStatus.UNAUTHORIZED:
        error = "" if refusal.outcome is Outcome.MISSING else ', error="invalid_token"'
        headers["WWW-Authenticate"] = REALM + error
    elif status is HTTPStatus.FORBIDDEN:
        headers["WWW-Authenticate"] = f'{REALM}, error="insufficient_scope", scope="{scope}"'
    if refusal.retry_seconds:
        headers["Retry-After"] = str(math.ceil(refusal.retry_seconds))
    if refusal.outcome is Outcome.LIMITED and refusal.identity is not None:
        headers |= _limits(refusal.identity, refusal.retry_seconds)
    if close:
        headers["Connection"] = "close"
    return ProblemError(status, kind, detail.format(scope=scope, remedy=_REMEDY), headers=headers)


def _limits(identity: Identity, retry_seconds: float) -> dict[str, str]:
    """The fields of draft-ietf-httpapi-ratelimit-headers: so many in a window, none left, more in `t` seconds."""
    allowance = identity.allowance
    window = max(1, math.ceil(allowance.burst / allowance.rate))
    return {
        "RateLimit-Policy": f'"key";q={allowance.burst};w={window}',
        "RateLimit": f'"key";r=0;t={math.ceil(retry_seconds)}',
    }


def _large(headers: list[tuple[bytes, bytes]], limit: int) -> bool:
    """Whether a body comes that would not be worth reading just to keep the connection."""
    for name, value in headers:
        if name == b"transfer-encoding":
            return True
        if name == b"content-length":
            return not value.isdigit() or int(value[:20]) > limit
    return False


_TOLD: Final = {
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
