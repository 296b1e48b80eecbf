"""Receives mirrored requests: the code of ordinary requests, with a guard, metrics, records and logs of their own."""

import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.types import Receive, Send
from starlette.types import Scope as RequestScope

from iris_inference.api.access_log import AccessLog
from iris_inference.api.context import PREDICT_PATH
from iris_inference.auth.authenticator import Authenticator
from iris_inference.auth.guard import OpenGuard, problem
from iris_inference.auth.identity import Identity, Refusal, Scope
from iris_inference.errors import ProblemError
from iris_inference.server.middleware import Middleware
from iris_inference.shadow import shadow_token
from iris_inference.shadow.mirrored_request import SHADOW_PATH

# Verified instead of the digest of an unknown key: the response time must not reveal which keys exist.
_UNKNOWN_KEY_DIGEST: Final = bytes(32)


class ShadowGuard(OpenGuard):
    """Accepts a mirrored request with a shadow token for this revision, signed unless no keys are needed here."""

    def __init__(
        self, revision: str, authenticator: Authenticator | None, clock: Callable[[], float] = time.time
    ) -> None:
        """`clock` gives seconds since 1970."""
        self._revision = revision
        self._authenticator = authenticator
        self._clock = clock

    def check(self, request: RequestScope, scope: Scope) -> None:
        """Accept the request and set the user in its state, or raise ProblemError: 401, 403, 421 or 503."""
        state = request["state"]
        token = shadow_token.parse(state["headers"].get(shadow_token.HEADER, b""))
        if token is None:
            raise _token_refused("a copy of a request comes with a ticket, and only pods of this service can make one")
        if token.revision != self._revision:
            raise ProblemError(
                HTTPStatus.MISDIRECTED_REQUEST,
                "other-revision",
                f"this copy is for revision {token.revision}; this is {self._revision}",
            )
        if self._authenticator is None:
            return
        digest = self._authenticator.digest_of(token.key_id) if token.key_id else None
        is_genuine = shadow_token.verify(token, digest or _UNKNOWN_KEY_DIGEST, state["request_id"])
        if not is_genuine or digest is None or token.key_id is None:
            raise _token_refused("the ticket is not signed for this request with a key that is known here")
        if abs(self._clock() - token.issued_at) > shadow_token.VALID_SECONDS:
            raise _token_refused(f"the ticket was not made within the last {shadow_token.VALID_SECONDS} s")
        self._authorize(state, self._authenticator.authorize_mirrored(token.key_id, scope), scope)

    def _authorize(self, state: dict[str, Any], result: Identity | Refusal, scope: Scope) -> None:
        identity = result if isinstance(result, Identity) else result.identity
        if identity is not None:
            state["user"] = identity.client
            state["key_id"] = identity.key_id
        if isinstance(result, Refusal):
            raise problem(result, scope)


class ShadowAccessLog(AccessLog):
    """The access log of mirrored requests, which has another route."""

    def write(self, method: str, route: str, status: int, seconds: float, state: Mapping[str, Any]) -> None:
        """Log a mirrored request."""
        super().write(method, SHADOW_PATH if route == PREDICT_PATH else route, status, seconds, state)


class ShadowDispatcher:
    """The application that a server runs: dispatches mirrored and all other requests to their middleware."""

    def __init__(self, requests: Middleware, mirrored: Middleware) -> None:
        self._requests = requests
        self._mirrored = mirrored
        # For the server, which tries them first.
        self.fast_paths = (requests.fast_path, mirrored.fast_path)

    def __call__(self, scope: RequestScope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one ASGI connection."""
        if scope.get("path") != SHADOW_PATH:
            return self._requests(scope, receive, send)
        # From here on it is an ordinary prediction request, so that it takes the same path and time.
        return self._mirrored({**scope, "path": PREDICT_PATH}, receive, send)


def _token_refused(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNAUTHORIZED, "ticket-refused", detail)
