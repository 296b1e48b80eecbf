"""Where copies come in: the same code as for requests, with a guard, counts, records and log lines of their own."""

import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.types import Receive, Send
from starlette.types import Scope as RequestScope

from iris_inference.auth.authenticator import Authenticator
from iris_inference.auth.guard import OpenGuard, problem
from iris_inference.auth.identity import Identity, Refusal, Scope
from iris_inference.edge import Edge
from iris_inference.exchange import PREDICT_PATH
from iris_inference.problems import ProblemError
from iris_inference.request_log import RequestLog
from iris_inference.shadow import ticket
from iris_inference.shadow.copies import SHADOW_PATH

# Checked instead of the digest of a key that is not known: the time of an answer must not tell which are.
_NOBODYS_DIGEST: Final = bytes(32)


class ShadowGuard(OpenGuard):
    """Lets a copy in that has a ticket for this revision, signed unless no keys are needed here."""

    def __init__(
        self, revision: str, authenticator: Authenticator | None, clock: Callable[[], float] = time.time
    ) -> None:
        """`clock` gives seconds since 1970."""
        self._revision = revision
        self._authenticator = authenticator
        self._clock = clock

    def check(self, request: RequestScope, scope: Scope) -> None:
        """Let the copy pass, with its user in its state, or raise ProblemError: 401, 403, 421 or 503."""
        state = request["state"]
        shown = ticket.parse(state["headers"].get(ticket.HEADER, b""))
        if shown is None:
            raise _refused("a copy of a request comes with a ticket, and only pods of this service can make one")
        if shown.revision != self._revision:
            raise ProblemError(
                HTTPStatus.MISDIRECTED_REQUEST,
                "other-revision",
                f"this copy is for revision {shown.revision}; this is {self._revision}",
            )
        if self._authenticator is None:
            return
        digest = self._authenticator.digest_of(shown.key_id) if shown.key_id else None
        genuine = ticket.belongs(shown, digest or _NOBODYS_DIGEST, state["request_id"])
        if not genuine or digest is None or shown.key_id is None:
            raise _refused("the ticket is not signed for this request with a key that is known here")
        if abs(self._clock() - shown.at) > ticket.GOOD_SECONDS:
            raise _refused(f"the ticket was not made within the last {ticket.GOOD_SECONDS} s")
        self._let_in(state, self._authenticator.vouched(shown.key_id, scope), scope)

    def _let_in(self, state: dict[str, Any], found: Identity | Refusal, scope: Scope) -> None:
        identity = found if isinstance(found, Identity) else found.identity
        if identity is not None:
            state["user"] = identity.client
            state["key_id"] = identity.key_id
        if isinstance(found, Refusal):
            raise problem(found, scope)


class ShadowLog(RequestLog):
    """The lines of copies: those of requests, with another route."""

    def write(self, method: str, route: str, status: int, seconds: float, state: Mapping[str, Any]) -> None:
        """One copy was answered."""
        super().write(method, SHADOW_PATH if route == PREDICT_PATH else route, status, seconds, state)


class Doors:
    """The application that a server runs: copies go one way, all else the other."""

    def __init__(self, requests: Edge, copies: Edge) -> None:
        self._requests = requests
        self._copies = copies
        # For the server, which asks them first.
        self.hot = (requests.hot, copies.hot)

    def __call__(self, scope: RequestScope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one ASGI connection."""
        if scope.get("path") != SHADOW_PATH:
            return self._requests(scope, receive, send)
        # From here on it is a prediction like any other, so that it costs and takes what one does.
        return self._copies({**scope, "path": PREDICT_PATH}, receive, send)


def _refused(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNAUTHORIZED, "ticket-refused", detail)
