"""The result of authenticating a request: an identity or a refusal."""

from enum import StrEnum
from typing import ClassVar, Final

from iris_inference.auth.rate_limiter import TokenBucket


class Scope(StrEnum):
    """What a key may be used for."""

    PREDICT = "predict"
    FEEDBACK = "feedback"


class Outcome(StrEnum):
    """The outcome of authenticating a request; the values are those of the metric's label."""

    OK = "ok"
    MISSING = "missing"
    UNKNOWN = "unknown"
    REVOKED = "revoked"
    EXPIRED = "expired"
    SCOPE = "scope"
    LIMITED = "limited"
    UNAVAILABLE = "unavailable"


class Identity:
    """A known API key. `expires_at` is in seconds of the monotonic clock."""

    outcome: ClassVar = Outcome.OK
    __slots__ = ("bucket", "client", "expires_at", "key_id", "revoked", "scopes", "used")

    def __init__(
        self, key_id: str, client: str, scopes: frozenset[str], bucket: TokenBucket, expires_at: float, *, revoked: bool
    ) -> None:
        self.key_id = key_id
        self.client = client
        self.scopes = scopes
        self.bucket = bucket
        self.expires_at = expires_at
        self.revoked = revoked
        # Set by each request, and read by the thread that records in the database which keys are in use.
        self.used = False


class Refusal:
    """Why a request is refused. `identity` is set when the key is known, `retry_seconds` when waiting helps."""

    __slots__ = ("identity", "outcome", "retry_seconds")

    def __init__(self, outcome: Outcome, identity: Identity | None = None, retry_seconds: float = 0.0) -> None:
        self.outcome = outcome
        self.identity = identity
        self.retry_seconds = retry_seconds


MISSING: Final = Refusal(Outcome.MISSING)
UNKNOWN: Final = Refusal(Outcome.UNKNOWN)
