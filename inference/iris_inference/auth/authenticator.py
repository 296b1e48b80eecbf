"""Checks keys in memory. A thread keeps the set of keys like the database's; no request ever waits for it.

Whoever is not known is not let in. While the database is away the last known set goes on being used, for as long as it
may be stale; after that, and before the first set is there, nobody is let in, and told to come back instead of being
called unknown.
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
from iris_inference.auth.counts import AuthCounts
from iris_inference.auth.identity import MISSING, UNKNOWN, Identity, Outcome, Refusal, Scope
from iris_inference.auth.limiter import Allowance
from iris_inference.logs import fields

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS: Final = 0.1
# An unknown key may be a new one, so the set is looked at again early, but never more often than this.
_EARLY_SECONDS: Final = 1.0
# Whoever is turned away because no set of keys is there may come again this soon.
_RETRY_SECONDS: Final = 5.0
_BEARER: Final = b"bearer "
# Stands in for the key that an unknown id does not have, so that the time of an answer does not tell which ids exist.
_NOBODYS_SALT: Final = keys.new_salt()
_NOBODYS_DIGEST: Final = secrets.token_bytes(32)


class KeysUnavailableError(Exception):
    """The keys could not be read; the message says why and holds no password."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What the database keeps of a key. `expires_in` is in seconds from the reading on; None: never."""

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
    """Where keys are kept. Blocking."""

    def load(self) -> Sequence[StoredKey]:
        """Every key that is good or was until lately. Raises KeysUnavailableError."""
        ...

    def used_today(self, key_ids: Sequence[str]) -> None:
        """These keys are in use. Raises KeysUnavailableError."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class _KeySet:
    """The keys as they were at one reading, and the tokens that were found to be among them."""

    __slots__ = ("known", "stored", "verified")

    def __init__(self, known: dict[str, Identity], stored: dict[str, StoredKey]) -> None:
        self.known = known
        self.stored = stored
        # Never longer than `known`: only what was verified is remembered, and each key has one token.
        self.verified: dict[bytes, Identity] = {}


class Authenticator:
    """`admit` belongs to the event loop and takes about two microseconds; the rest happens in a thread of its own."""

    def __init__(
        self,
        source: KeySource,
        counts: AuthCounts,
        refresh_seconds: float,
        stale_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.touched: list[Allowance] = []
        self._source = source
        self._results = counts.results
        self._refresh_seconds = refresh_seconds
        self._stale_seconds = stale_seconds
        self._clock = clock
        # What is remembered of a token is no use to who reads this process's memory without this.
        self._secret = secrets.token_bytes(32)
        self._keys = _KeySet({}, {})
        self._good_until = float("-inf")
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._away = False
        self._thread = threading.Thread(target=self._run, name="auth-refresh", daemon=True)

    @property
    def loaded(self) -> bool:
        """Whether the keys were ever read."""
        return self._good_until != float("-inf")

    def admit(self, token: bytes | None, scope: Scope) -> Identity | Refusal:
        """Decide about one request. `token` is the key that came with it, None when none did."""
        found = self._decide(token, scope)
        self._results[found.outcome] += 1
        return found

    def digest_of(self, key_id: str) -> bytes | None:
        """What the database keeps of a key's secret; None when there is no such key."""
        stored = self._keys.stored.get(key_id)
        return stored.digest if stored else None

    def vouched(self, key_id: str, scope: Scope) -> Identity | Refusal:
        """Decide about a request that another pod let in with this key, and counted: it uses up none of its rate."""
        now = self._clock()
        if now >= self._good_until:
            return Refusal(Outcome.UNAVAILABLE, retry_seconds=_RETRY_SECONDS)
        identity = self._keys.known.get(key_id)
        return UNKNOWN if identity is None else _refusal(identity, scope, now) or identity

    def open(self) -> None:
        """Begin to read the keys."""
        self._thread.start()

    def close(self, timeout_seconds: float) -> None:
        """End the thread, or leave it to the end of the process when the database hangs."""
        self._closing.set()
        self._wanted.set()
        self._thread.join(timeout_seconds)
        if not self._thread.is_alive():
            self._source.close()

    def _decide(self, token: bytes | None, scope: Scope) -> Identity | Refusal:
        if token is None:
            return MISSING
        now = self._clock()
        if now >= self._good_until:
            return Refusal(Outcome.UNAVAILABLE, retry_seconds=_RETRY_SECONDS)
        known = self._keys
        mark = hashlib.blake2b(token, key=self._secret, digest_size=16).digest()
        identity = known.verified.get(mark) or self._verify(known, token, mark)
        return UNKNOWN if identity is None else _judged(identity, scope, now)

    def _verify(self, known: _KeySet, token: bytes, mark: bytes) -> Identity | None:
        key = keys.parse(token.decode("latin-1"))
        if key is None:
            return None
        stored = known.stored.get(key.key_id)
        if not keys.belongs(
            key.secret, stored.salt if stored else _NOBODYS_SALT, stored.digest if stored else _NOBODYS_DIGEST
        ):
            if stored is None:
                self._wanted.set()
            return None
        identity = known.known[key.key_id]
        known.verified[mark] = identity
        return identity

    def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._closing.is_set():
            self._wanted.clear()
            pause = self._refresh_seconds if self._refresh() else min(pause * 2, self._refresh_seconds)
            # Two waits: the first cannot be cut short, or whoever sends unknown keys would keep the database busy.
            early = min(pause, _EARLY_SECONDS)
            self._closing.wait(early)
            self._wanted.wait(pause - early)

    def _refresh(self) -> bool:
        before = self._clock()
        try:
            stored = self._source.load()
        except KeysUnavailableError as error:
            self._tell_away(error)
            return False
        except Exception:
            # A thread that ended here would leave the keys as they are, and nobody would be told.
            log.exception("the keys could not be read")
            return False
        old = self._keys.known
        known = {key.key_id: self._identity(key, old.get(key.key_id), before) for key in stored}
        self._keys = _KeySet(known, {key.key_id: key for key in stored})
        self._tell_back(len(stored))
        self._good_until = before + self._stale_seconds
        self._tell_used(old)
        return True

    def _identity(self, key: StoredKey, old: Identity | None, now: float) -> Identity:
        if old is None:
            allowance = Allowance(key.key_id, key.rate, key.burst, self.touched)
        else:
            # Kept, or each reading would fill the bucket again.
            allowance = old.allowance
            allowance.rate, allowance.burst = key.rate, key.burst
        ends = float("inf") if key.expires_in is None else now + key.expires_in
        return Identity(key.key_id, key.client, key.scopes, allowance, ends, revoked=key.revoked)

    def _tell_used(self, old: dict[str, Identity]) -> None:
        used = [key_id for key_id, identity in old.items() if identity.seen and not identity.revoked]
        if used:
            try:
                self._source.used_today(used)
            except KeysUnavailableError as error:
                # Nobody decides by it: whether a key is still in use is told as well as it can be.
                log.debug("the use of keys was not noted", extra=fields(error=str(error)))

    def _tell_away(self, error: Exception) -> None:
        if not self._away:
            left = self._good_until - self._clock()
            log.warning(
                "the keys cannot be read; the last known ones go on being used"
                if left > 0
                else "the keys cannot be read; nobody is let in",
                extra=fields(error=str(error), seconds_left=round(max(0.0, left)) if self.loaded else None),
            )
        self._away = True

    def _tell_back(self, count: int) -> None:
        if self._away or not self.loaded:
            log.info("the keys were read", extra=fields(keys=count))
        self._away = False


def _judged(identity: Identity, scope: Scope, now: float) -> Identity | Refusal:
    identity.seen = True
    if refusal := _refusal(identity, scope, now):
        return refusal
    wait = identity.allowance.take(now)
    return Refusal(Outcome.LIMITED, identity, wait) if wait else identity


def _refusal(identity: Identity, scope: Scope, now: float) -> Refusal | None:
    if identity.revoked:
        return Refusal(Outcome.REVOKED, identity)
    if now >= identity.ends:
        return Refusal(Outcome.EXPIRED, identity)
    return None if scope in identity.scopes else Refusal(Outcome.SCOPE, identity)


def token_of(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The key in a request's headers: `Authorization: Bearer <key>`, else `X-API-Key: <key>`."""
    value = headers.get(b"authorization")
    if value is None:
        return headers.get(b"x-api-key")
    return value[len(_BEARER) :].strip() if value[: len(_BEARER)].lower() == _BEARER else b""
