"""Authenticates API keys in memory. A thread refreshes the keys from the database; no request ever waits for it.

Unknown keys are refused. While the database is unavailable, the last keys that were read stay valid for a limited time;
after that, and before the first read, every request is refused with 503 instead of being called unknown.
"""

import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from iris_inference.auth import keys
from iris_inference.auth.identity import MISSING, UNKNOWN, Identity, Outcome, Refusal, Scope
from iris_inference.auth.metrics import AuthMetrics
from iris_inference.auth.rate_limiter import TokenBucket
from iris_inference.logs import fields

log = logging.getLogger(__name__)

_INITIAL_BACKOFF_SECONDS: Final = 0.1
# An unknown key may be a new one, so it triggers a refresh, but never more often than this.
_MIN_REFRESH_SECONDS: Final = 1.0
# The Retry-After of a request that is refused because the keys are unavailable.
_RETRY_AFTER_SECONDS: Final = 5.0
_BEARER: Final = b"bearer "
# Verified against for an unknown key id, so that the response time does not reveal which ids exist.
_DUMMY_SALT: Final = keys.new_salt()
_DUMMY_DIGEST: Final = secrets.token_bytes(32)


class KeysUnavailableError(Exception):
    """The keys could not be read; the message has the reason and contains no password."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as the database stores it. `expires_in` is in seconds from the time it was read; None: never."""

    key_id: str
    client: str
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    scopes: frozenset[str]
    rate: float
    burst: int
    expires_in: float | None = None
    revoked: bool = False


class KeySource(Protocol):
    """Stores keys. Blocking."""

    def load(self) -> Sequence[StoredKey]:
        """Every key that is valid or was until recently. Raises KeysUnavailableError."""
        ...

    def record_use(self, key_ids: Sequence[str]) -> None:
        """Record that these keys were used today. Raises KeysUnavailableError."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class _KeySet:
    """The keys of one read, and the tokens that were verified against them."""

    __slots__ = ("identities", "stored", "verified")

    def __init__(self, identities: dict[str, Identity], stored: dict[str, StoredKey]) -> None:
        self.identities = identities
        self.stored = stored
        # Never more entries than `identities`: only verified tokens are cached, and each key has one token.
        self.verified: dict[bytes, Identity] = {}


class Authenticator:
    """Authenticates in the event loop, in about two microseconds, and reads the keys in a thread of its own."""

    def __init__(
        self,
        source: KeySource,
        counts: AuthMetrics,
        refresh_seconds: float,
        stale_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.unsynced_buckets: list[TokenBucket] = []
        self._source = source
        self._results = counts.results
        self._refresh_seconds = refresh_seconds
        self._stale_seconds = stale_seconds
        self._clock = clock
        # Tokens are cached as keyed hashes: without this secret they cannot be matched against guesses.
        self._secret = secrets.token_bytes(32)
        self._keys = _KeySet({}, {})
        self._valid_until = float("-inf")
        self._refresh_requested = threading.Event()
        self._closing = threading.Event()
        self._unavailable = False
        self._thread = threading.Thread(target=self._run, name="auth-refresh", daemon=True)

    @property
    def loaded(self) -> bool:
        """Whether the keys have been read at least once."""
        return self._valid_until != float("-inf")

    def authenticate(self, token: bytes | None, scope: Scope) -> Identity | Refusal:
        """Authenticate and authorize one request. `token` is the key that it sent, None when it sent none."""
        result = self._decide(token, scope)
        self._results[result.outcome] += 1
        return result

    def digest_of(self, key_id: str) -> bytes | None:
        """The stored digest of a key's secret; None when there is no such key."""
        stored = self._keys.stored.get(key_id)
        return stored.digest if stored else None

    def authorize_mirrored(self, key_id: str, scope: Scope) -> Identity | Refusal:
        """Authorize a mirrored request. Another pod has counted it, so it does not count against the rate."""
        now = self._clock()
        if now >= self._valid_until:
            return Refusal(Outcome.UNAVAILABLE, retry_seconds=_RETRY_AFTER_SECONDS)
        identity = self._keys.identities.get(key_id)
        return UNKNOWN if identity is None else _refusal(identity, scope, now) or identity

    def open(self) -> None:
        """Start the thread that reads the keys."""
        self._thread.start()

    def close(self, timeout_seconds: float) -> None:
        """Stop the thread, or leave it to the end of the process when the database hangs."""
        self._closing.set()
        self._refresh_requested.set()
        self._thread.join(timeout_seconds)
        if not self._thread.is_alive():
            self._source.close()

    def _decide(self, token: bytes | None, scope: Scope) -> Identity | Refusal:
        if token is None:
            return MISSING
        now = self._clock()
        if now >= self._valid_until:
            return Refusal(Outcome.UNAVAILABLE, retry_seconds=_RETRY_AFTER_SECONDS)
        key_set = self._keys
        fingerprint = hashlib.blake2b(token, key=self._secret, digest_size=16).digest()
        identity = key_set.verified.get(fingerprint) or self._verify(key_set, token, fingerprint)
        return UNKNOWN if identity is None else _authorize(identity, scope, now)

    def _verify(self, key_set: _KeySet, token: bytes, fingerprint: bytes) -> Identity | None:
        key = keys.parse(token.decode("latin-1"))
        if key is None:
            return None
        stored = key_set.stored.get(key.key_id)
        if not keys.verify(
            key.secret, stored.salt if stored else _DUMMY_SALT, stored.digest if stored else _DUMMY_DIGEST
        ):
            if stored is None:
                self._refresh_requested.set()
            return None
        identity = key_set.identities[key.key_id]
        key_set.verified[fingerprint] = identity
        return identity

    def _run(self) -> None:
        pause = _INITIAL_BACKOFF_SECONDS
        while not self._closing.is_set():
            self._refresh_requested.clear()
            pause = self._refresh_seconds if self._refresh() else min(pause * 2, self._refresh_seconds)
            # Two waits: the first cannot be interrupted, or requests with unknown keys would keep the database busy.
            min_pause = min(pause, _MIN_REFRESH_SECONDS)
            self._closing.wait(min_pause)
            self._refresh_requested.wait(pause - min_pause)

    def _refresh(self) -> bool:
        before = self._clock()
        try:
            stored = self._source.load()
        except KeysUnavailableError as error:
            self._log_unavailable(error)
            return False
        except Exception:
            # If the thread ended here, the keys would never be refreshed again, and nothing would report it.
            log.exception("the keys could not be read")
            return False
        old = self._keys.identities
        known = {key.key_id: self._identity(key, old.get(key.key_id), before) for key in stored}
        self._keys = _KeySet(known, {key.key_id: key for key in stored})
        self._log_recovered(len(stored))
        self._valid_until = before + self._stale_seconds
        self._record_use(old)
        return True

    def _identity(self, key: StoredKey, old: Identity | None, now: float) -> Identity:
        if old is None:
            bucket = TokenBucket(key.key_id, key.rate, key.burst, self.unsynced_buckets)
        else:
            # The bucket is kept: a new one would be full after every refresh.
            bucket = old.bucket
            bucket.rate, bucket.burst = key.rate, key.burst
        expires_at = float("inf") if key.expires_in is None else now + key.expires_in
        return Identity(key.key_id, key.client, key.scopes, bucket, expires_at, revoked=key.revoked)

    def _record_use(self, old: dict[str, Identity]) -> None:
        used = [key_id for key_id, identity in old.items() if identity.used and not identity.revoked]
        if used:
            try:
                self._source.record_use(used)
            except KeysUnavailableError as error:
                # Best effort: no decision depends on it.
                log.debug("the use of keys was not recorded", extra=fields(error=str(error)))

    def _log_unavailable(self, error: Exception) -> None:
        if not self._unavailable:
            left = self._valid_until - self._clock()
            log.warning(
                "the keys cannot be read; the last known ones stay valid"
                if left > 0
                else "the keys cannot be read; every request is refused",
                extra=fields(error=str(error), seconds_left=round(max(0.0, left)) if self.loaded else None),
            )
        self._unavailable = True

    def _log_recovered(self, count: int) -> None:
        if self._unavailable or not self.loaded:
            log.info("the keys were read", extra=fields(keys=count))
        self._unavailable = False


def _authorize(identity: Identity, scope: Scope, now: float) -> Identity | Refusal:
    identity.used = True
    if refusal := _refusal(identity, scope, now):
        return refusal
    retry_seconds = identity.bucket.try_acquire(now)
    return Refusal(Outcome.LIMITED, identity, retry_seconds) if retry_seconds else identity


def _refusal(identity: Identity, scope: Scope, now: float) -> Refusal | None:
    if identity.revoked:
        return Refusal(Outcome.REVOKED, identity)
    if now >= identity.expires_at:
        return Refusal(Outcome.EXPIRED, identity)
    return None if scope in identity.scopes else Refusal(Outcome.SCOPE, identity)


def extract_token(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The key in the headers: `Authorization: Bearer <key>`, else `X-API-Key: <key>`; None when there is neither."""
    value = headers.get(b"authorization")
    if value is None:
        return headers.get(b"x-api-key")
    return value[len(_BEARER) :].strip() if value[: len(_BEARER)].lower() == _BEARER else b""
