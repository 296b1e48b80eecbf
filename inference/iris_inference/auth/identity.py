"""What comes out of looking at a request's key: who asks, or why not."""

from enum import StrEnum
from typing import ClassVar, Final

from iris_inference.auth.limiter import Allowance


class Scope(StrEnum):
    """What a key may be good for."""

    PREDICT = "predict"
    FEEDBACK = "feedback"


class Outcome(StrEnum):
    """What can become of a request at the door; the values of the metric's label."""

    OK = "ok"
    MISSING = "missing"
    UNKNOWN = "unknown"
    REVOKED = "revoked"
    EXPIRED = "expired"
    SCOPE = "scope"
    LIMITED = "limited"
    UNAVAILABLE = "unavailable"


class Identity:
    """Who asks: one key that was found good. `ends` is when it expires, by the clock that only rises, in seconds."""

    outcome: ClassVar = Outcome.OK
    __slots__ = ("allowance", "client", "ends", "key_id", "revoked", "scopes", "seen")

    def __init__(
        self, key_id: str, client: str, scopes: frozenset[str], allowance: Allowance, ends: float, *, revoked: bool
    ) -> None:
        self.key_id = key_id
        self.client = client
        self.scopes = scopes
        self.allowance = allowance
        self.ends = ends
        self.revoked = revoked
        # Set by each request, read and cleared by the thread that tells the database which keys are in use.
        self.seen = False


class Refusal:
    """Why a request is not served. `identity` is there when the key is known, `retry_seconds` when waiting helps."""

    __slots__ = ("identity", "outcome", "retry_seconds")

    def __init__(self, outcome: Outcome, identity: Identity | None = None, retry_seconds: float = 0.0) -> None:
        self.outcome = outcome
        self.identity = identity
        self.retry_seconds = retry_seconds


MISSING: Final = Refusal(Outcome.MISSING)
UNKNOWN: Final = Refusal(Outcome.UNKNOWN)
