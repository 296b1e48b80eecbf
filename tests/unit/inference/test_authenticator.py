import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from iris_inference.auth import keys
from iris_inference.auth.authenticator import Authenticator, KeysUnavailableError, StoredKey, token_of
from iris_inference.auth.counts import AuthCounts
from iris_inference.auth.identity import Identity, Outcome, Refusal, Scope

LONG = 3_600.0


class Source:
    """Keys that are there when the test says so."""

    def __init__(self) -> None:
        self.stored: list[StoredKey] = []
        self.away = False
        self.used: list[str] = []
        self.loads = 0
        self._news = threading.Condition()

    def load(self) -> Sequence[StoredKey]:
        with self._news:
            self.loads += 1
            self._news.notify_all()
        if self.away:
            raise KeysUnavailableError("nobody there")
        return list(self.stored)

    def used_today(self, key_ids: Sequence[str]) -> None:
        self.used.extend(key_ids)

    def close(self) -> None:
        pass

    def loaded(self, more: int) -> None:
        """Returns once so many more loads have begun."""
        with self._news:
            wanted = self.loads + more
            assert self._news.wait_for(lambda: self.loads >= wanted, 10)

    def add(self, *scopes: str, rate: float = 1e6, burst: int = 1_000_000) -> bytes:
        key, salt = keys.generate(), keys.new_salt()
        self.stored.append(
            StoredKey(key.key_id, "shop", salt, keys.digest(salt, key.secret), frozenset(scopes), rate, burst)
        )
        return key.text.encode()


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def clock() -> Clock:
    return Clock()


Start = Callable[..., Authenticator]


@pytest.fixture
def start(source: Source, clock: Clock) -> Iterator[Start]:
    started: list[Authenticator] = []

    def starting(refresh_seconds: float = LONG, stale_seconds: float = LONG) -> Authenticator:
        made = Authenticator(source, AuthCounts(), refresh_seconds, stale_seconds, clock)
        started.append(made)
        made.open()
        return made

    yield starting
    for authenticator in started:
        authenticator.close(5)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def outcome(found: Identity | Refusal) -> Outcome:
    return found.outcome


def test_a_good_key_is_who_it_belongs_to(source: Source, start: Start) -> None:
    token = source.add("predict")
    authenticator = start()
    until(lambda: authenticator.loaded)
    for _ in range(3):
        found = authenticator.admit(token, Scope.PREDICT)
        assert isinstance(found, Identity)
        assert (found.client, found.key_id) == ("shop", token.decode().split("_")[1])


def test_everybody_else_is_refused_with_the_reason(source: Source, start: Start, clock: Clock) -> None:
    good = source.add("predict")
    revoked = source.add("predict")
    source.stored[-1] = replace(source.stored[-1], revoked=True)
    expired = source.add("predict")
    source.stored[-1] = replace(source.stored[-1], expires_in=-1.0)
    soon = source.add("predict")
    source.stored[-1] = replace(source.stored[-1], expires_in=60.0)
    authenticator = start()
    until(lambda: authenticator.loaded)
    forged = good[:-1] + (b"0" if good[-1:] != b"0" else b"1")
    assert outcome(authenticator.admit(None, Scope.PREDICT)) is Outcome.MISSING
    for unknown in (b"", b"iris", forged, keys.generate().text.encode(), b"\xff" * 82, good + b"\n"):
        assert outcome(authenticator.admit(unknown, Scope.PREDICT)) is Outcome.UNKNOWN
    for _ in range(2):
        assert outcome(authenticator.admit(revoked, Scope.PREDICT)) is Outcome.REVOKED
        assert outcome(authenticator.admit(expired, Scope.PREDICT)) is Outcome.EXPIRED
        assert outcome(authenticator.admit(good, Scope.FEEDBACK)) is Outcome.SCOPE
    assert outcome(authenticator.admit(soon, Scope.PREDICT)) is Outcome.OK
    clock.now += 60
    assert outcome(authenticator.admit(soon, Scope.PREDICT)) is Outcome.EXPIRED
    assert outcome(authenticator.admit(good, Scope.PREDICT)) is Outcome.OK


def test_nobody_is_let_in_and_nobody_called_unknown_before_the_keys_were_read(source: Source, start: Start) -> None:
    token = source.add("predict")
    source.away = True
    authenticator = start(refresh_seconds=0.02)
    source.loaded(2)
    assert not authenticator.loaded
    found = authenticator.admit(token, Scope.PREDICT)
    assert isinstance(found, Refusal)
    assert found.outcome is Outcome.UNAVAILABLE
    assert found.retry_seconds > 0
    source.away = False
    until(lambda: authenticator.loaded)
    assert outcome(authenticator.admit(token, Scope.PREDICT)) is Outcome.OK


def test_the_last_known_keys_are_good_for_as_long_as_they_may_be_stale(
    source: Source, start: Start, clock: Clock
) -> None:
    token = source.add("predict")
    authenticator = start(refresh_seconds=0.02, stale_seconds=900)
    until(lambda: authenticator.loaded)
    source.away = True
    source.loaded(2)
    clock.now += 899
    source.loaded(2)
    assert outcome(authenticator.admit(token, Scope.PREDICT)) is Outcome.OK
    clock.now += 1
    assert outcome(authenticator.admit(token, Scope.PREDICT)) is Outcome.UNAVAILABLE
    source.away = False
    until(lambda: outcome(authenticator.admit(token, Scope.PREDICT)) is Outcome.OK)


def test_a_revoked_key_ends_with_the_next_reading_although_it_was_remembered(source: Source, start: Start) -> None:
    token = source.add("predict")
    authenticator = start(refresh_seconds=0.02)
    until(lambda: authenticator.loaded)
    assert outcome(authenticator.admit(token, Scope.PREDICT)) is Outcome.OK
    source.stored[0] = replace(source.stored[0], revoked=True)
    source.loaded(2)
    assert outcome(authenticator.admit(token, Scope.PREDICT)) is Outcome.REVOKED
    source.stored.clear()
    source.loaded(2)
    assert outcome(authenticator.admit(token, Scope.PREDICT)) is Outcome.UNKNOWN


def test_an_unknown_key_makes_the_next_reading_come_early(source: Source, start: Start) -> None:
    authenticator = start(refresh_seconds=LONG)
    until(lambda: authenticator.loaded)
    token = source.add("predict")
    until(lambda: outcome(authenticator.admit(token, Scope.PREDICT)) is Outcome.OK)
    assert source.loads == 2


def test_a_reading_does_not_fill_the_bucket_again_and_brings_another_rate(
    source: Source, start: Start, clock: Clock
) -> None:
    token = source.add("predict", rate=0.001, burst=2)
    authenticator = start(refresh_seconds=0.02)
    until(lambda: authenticator.loaded)
    found = [outcome(authenticator.admit(token, Scope.PREDICT)) for _ in range(3)]
    assert found == [Outcome.OK, Outcome.OK, Outcome.LIMITED]
    source.loaded(3)
    assert outcome(authenticator.admit(token, Scope.PREDICT)) is Outcome.LIMITED
    source.stored[0] = replace(source.stored[0], rate=1e9, burst=10)
    source.loaded(2)
    clock.now += 1
    assert outcome(authenticator.admit(token, Scope.PREDICT)) is Outcome.OK


def test_which_keys_are_in_use_is_told_when_they_are(source: Source, start: Start) -> None:
    used, unused = source.add("predict"), source.add("predict")
    authenticator = start(refresh_seconds=0.02)
    until(lambda: authenticator.loaded)
    authenticator.admit(used, Scope.PREDICT)
    until(lambda: bool(source.used))
    source.loaded(3)
    assert source.used == [used.decode().split("_")[1]]
    assert unused.decode().split("_")[1] not in source.used


def test_an_error_that_nobody_thought_of_does_not_end_the_reading(
    source: Source, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = source.add("predict")

    def fail() -> Sequence[StoredKey]:
        raise ValueError("surprise")

    monkeypatch.setattr(source, "load", fail)
    authenticator = start(refresh_seconds=0.02)
    assert outcome(authenticator.admit(token, Scope.PREDICT)) is Outcome.UNAVAILABLE
    monkeypatch.undo()
    until(lambda: authenticator.loaded)
    assert outcome(authenticator.admit(token, Scope.PREDICT)) is Outcome.OK


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([], None),
        ([(b"host", b"x")], None),
        ([(b"authorization", b"Bearer k")], b"k"),
        ([(b"authorization", b"bearer  k ")], b"k"),
        ([(b"authorization", b"Basic k")], b""),
        ([(b"authorization", b"")], b""),
        ([(b"x-api-key", b"k")], b"k"),
        ([(b"x-api-key", b"other"), (b"authorization", b"Bearer k")], b"k"),
    ],
)
def test_a_key_comes_in_either_of_two_headers(headers: list[tuple[bytes, bytes]], token: bytes | None) -> None:
    assert token_of(dict(headers[::-1])) == token
