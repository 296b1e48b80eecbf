import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from iris_inference.auth import keys
from iris_inference.auth.authenticator import Authenticator, KeysUnavailableError, StoredKey, extract_token
from iris_inference.auth.identity import Identity, Outcome, Refusal, Scope
from iris_inference.auth.metrics import AuthMetrics

LONG = 3_600.0


class FakeKeySource:
    """A key source that the test controls."""

    def __init__(self) -> None:
        self.stored: list[StoredKey] = []
        self.unavailable = False
        self.recorded_uses: list[str] = []
        self.loads = 0
        self._loaded = threading.Condition()

    def load(self) -> Sequence[StoredKey]:
        with self._loaded:
            self.loads += 1
            self._loaded.notify_all()
        if self.unavailable:
            raise KeysUnavailableError("unavailable")
        return list(self.stored)

    def record_use(self, key_ids: Sequence[str]) -> None:
        self.recorded_uses.extend(key_ids)

    def close(self) -> None:
        pass

    def await_loads(self, more: int) -> None:
        """Wait until `more` further loads have started."""
        with self._loaded:
            wanted = self.loads + more
            assert self._loaded.wait_for(lambda: self.loads >= wanted, 10)

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
def source() -> FakeKeySource:
    return FakeKeySource()


@pytest.fixture
def clock() -> Clock:
    return Clock()


Start = Callable[..., Authenticator]


@pytest.fixture
def start(source: FakeKeySource, clock: Clock) -> Iterator[Start]:
    started: list[Authenticator] = []

    def start_authenticator(refresh_seconds: float = LONG, stale_seconds: float = LONG) -> Authenticator:
        authenticator = Authenticator(source, AuthMetrics(), refresh_seconds, stale_seconds, clock)
        started.append(authenticator)
        authenticator.open()
        return authenticator

    yield start_authenticator
    for authenticator in started:
        authenticator.close(5)


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def outcome(result: Identity | Refusal) -> Outcome:
    return result.outcome


def test_a_valid_key_is_authenticated_as_its_client(source: FakeKeySource, start: Start) -> None:
    token = source.add("predict")
    authenticator = start()
    wait_until(lambda: authenticator.loaded)
    for _ in range(3):
        result = authenticator.authenticate(token, Scope.PREDICT)
        assert isinstance(result, Identity)
        assert (result.client, result.key_id) == ("shop", token.decode().split("_")[1])


def test_invalid_keys_are_refused_with_the_reason(source: FakeKeySource, start: Start, clock: Clock) -> None:
    valid = source.add("predict")
    revoked = source.add("predict")
    source.stored[-1] = replace(source.stored[-1], revoked=True)
    expired = source.add("predict")
    source.stored[-1] = replace(source.stored[-1], expires_in=-1.0)
    soon = source.add("predict")
    source.stored[-1] = replace(source.stored[-1], expires_in=60.0)
    authenticator = start()
    wait_until(lambda: authenticator.loaded)
    forged = valid[:-1] + (b"0" if valid[-1:] != b"0" else b"1")
    assert outcome(authenticator.authenticate(None, Scope.PREDICT)) is Outcome.MISSING
    for unknown in (b"", b"iris", forged, keys.generate().text.encode(), b"\xff" * 82, valid + b"\n"):
        assert outcome(authenticator.authenticate(unknown, Scope.PREDICT)) is Outcome.UNKNOWN
    for _ in range(2):
        assert outcome(authenticator.authenticate(revoked, Scope.PREDICT)) is Outcome.REVOKED
        assert outcome(authenticator.authenticate(expired, Scope.PREDICT)) is Outcome.EXPIRED
        assert outcome(authenticator.authenticate(valid, Scope.FEEDBACK)) is Outcome.SCOPE
    assert outcome(authenticator.authenticate(soon, Scope.PREDICT)) is Outcome.OK
    clock.now += 60
    assert outcome(authenticator.authenticate(soon, Scope.PREDICT)) is Outcome.EXPIRED
    assert outcome(authenticator.authenticate(valid, Scope.PREDICT)) is Outcome.OK


def test_before_the_keys_are_read_every_request_is_refused_as_unavailable(source: FakeKeySource, start: Start) -> None:
    token = source.add("predict")
    source.unavailable = True
    authenticator = start(refresh_seconds=0.02)
    source.await_loads(2)
    assert not authenticator.loaded
    result = authenticator.authenticate(token, Scope.PREDICT)
    assert isinstance(result, Refusal)
    assert result.outcome is Outcome.UNAVAILABLE
    assert result.retry_seconds > 0
    source.unavailable = False
    wait_until(lambda: authenticator.loaded)
    assert outcome(authenticator.authenticate(token, Scope.PREDICT)) is Outcome.OK


def test_the_last_keys_stay_valid_until_they_are_stale(source: FakeKeySource, start: Start, clock: Clock) -> None:
    token = source.add("predict")
    authenticator = start(refresh_seconds=0.02, stale_seconds=900)
    wait_until(lambda: authenticator.loaded)
    source.unavailable = True
    source.await_loads(2)
    clock.now += 899
    source.await_loads(2)
    assert outcome(authenticator.authenticate(token, Scope.PREDICT)) is Outcome.OK
    clock.now += 1
    assert outcome(authenticator.authenticate(token, Scope.PREDICT)) is Outcome.UNAVAILABLE
    source.unavailable = False
    wait_until(lambda: outcome(authenticator.authenticate(token, Scope.PREDICT)) is Outcome.OK)


def test_a_revoked_key_is_refused_after_the_next_refresh_although_it_was_cached(
    source: FakeKeySource, start: Start
) -> None:
    token = source.add("predict")
    authenticator = start(refresh_seconds=0.02)
    wait_until(lambda: authenticator.loaded)
    assert outcome(authenticator.authenticate(token, Scope.PREDICT)) is Outcome.OK
    source.stored[0] = replace(source.stored[0], revoked=True)
    source.await_loads(2)
    assert outcome(authenticator.authenticate(token, Scope.PREDICT)) is Outcome.REVOKED
    source.stored.clear()
    source.await_loads(2)
    assert outcome(authenticator.authenticate(token, Scope.PREDICT)) is Outcome.UNKNOWN


def test_an_unknown_key_triggers_an_early_refresh(source: FakeKeySource, start: Start) -> None:
    authenticator = start(refresh_seconds=LONG)
    wait_until(lambda: authenticator.loaded)
    token = source.add("predict")
    wait_until(lambda: outcome(authenticator.authenticate(token, Scope.PREDICT)) is Outcome.OK)
    assert source.loads == 2


def test_a_refresh_updates_the_rate_and_does_not_refill_the_bucket(
    source: FakeKeySource, start: Start, clock: Clock
) -> None:
    token = source.add("predict", rate=0.001, burst=2)
    authenticator = start(refresh_seconds=0.02)
    wait_until(lambda: authenticator.loaded)
    outcomes = [outcome(authenticator.authenticate(token, Scope.PREDICT)) for _ in range(3)]
    assert outcomes == [Outcome.OK, Outcome.OK, Outcome.LIMITED]
    source.await_loads(3)
    assert outcome(authenticator.authenticate(token, Scope.PREDICT)) is Outcome.LIMITED
    source.stored[0] = replace(source.stored[0], rate=1e9, burst=10)
    source.await_loads(2)
    clock.now += 1
    assert outcome(authenticator.authenticate(token, Scope.PREDICT)) is Outcome.OK


def test_the_use_of_keys_is_recorded(source: FakeKeySource, start: Start) -> None:
    used, unused = source.add("predict"), source.add("predict")
    authenticator = start(refresh_seconds=0.02)
    wait_until(lambda: authenticator.loaded)
    authenticator.authenticate(used, Scope.PREDICT)
    wait_until(lambda: bool(source.recorded_uses))
    source.await_loads(3)
    assert source.recorded_uses == [used.decode().split("_")[1]]
    assert unused.decode().split("_")[1] not in source.recorded_uses


def test_an_unexpected_error_does_not_stop_the_refreshes(
    source: FakeKeySource, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = source.add("predict")

    def fail() -> Sequence[StoredKey]:
        raise ValueError("surprise")

    monkeypatch.setattr(source, "load", fail)
    authenticator = start(refresh_seconds=0.02)
    assert outcome(authenticator.authenticate(token, Scope.PREDICT)) is Outcome.UNAVAILABLE
    monkeypatch.undo()
    wait_until(lambda: authenticator.loaded)
    assert outcome(authenticator.authenticate(token, Scope.PREDICT)) is Outcome.OK


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
def test_a_key_is_read_from_either_of_two_headers(headers: list[tuple[bytes, bytes]], token: bytes | None) -> None:
    assert extract_token(dict(headers[::-1])) == token
