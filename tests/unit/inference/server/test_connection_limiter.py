from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_inference.server.connection_limiter import (
    PROBE_BURST,
    PROBE_SLOTS,
    ConnectionLimiter,
    ConnectionState,
    Slot,
    fit_to_file_limit,
)


@dataclass(eq=False)
class FakeConnection:
    """A connection in a state that the test sets."""

    in_state: ConnectionState = ConnectionState.ACTIVE
    since: float = 0.0
    evicted: list["FakeConnection"] = field(default_factory=list)
    has_unread_data: bool = False

    def state(self) -> ConnectionState:
        return self.in_state

    def state_since(self) -> float:
        return self.since

    def evict(self) -> bool:
        if self.has_unread_data:
            return False
        self.evicted.append(self)
        return True


def full(limit: int, *connections: FakeConnection) -> ConnectionLimiter:
    limiter = ConnectionLimiter(limit)
    assert [limiter.admit(connection, 0.0) for connection in connections] == [Slot.REGULAR] * limit
    return limiter


def test_connections_are_admitted_up_to_the_limit_and_a_release_frees_a_slot() -> None:
    first, second = FakeConnection(), FakeConnection()
    limiter = full(2, first, second)
    assert limiter.admit(FakeConnection(), 0.0) is Slot.PROBES_ONLY
    limiter.release(first)
    assert limiter.admit(FakeConnection(), 0.0) is Slot.REGULAR


def test_new_connections_are_evicted_first_and_the_oldest_of_them_before_the_others() -> None:
    evicted: list[FakeConnection] = []
    inside = [
        FakeConnection(ConnectionState.IDLE, 1.0, evicted),
        FakeConnection(ConnectionState.READING, 2.0, evicted),
        FakeConnection(ConnectionState.NEW, 9.0, evicted),
        FakeConnection(ConnectionState.NEW, 8.0, evicted),
        FakeConnection(ConnectionState.ACTIVE, 0.0, evicted),
    ]
    limiter = full(5, *inside)
    news = [FakeConnection(ConnectionState.ACTIVE, 10.0, evicted) for _ in range(5)]
    assert [limiter.admit(new, 10.0) for new in news] == [Slot.REGULAR] * 4 + [Slot.PROBES_ONLY]
    assert evicted == [inside[3], inside[2], inside[1], inside[0]]


@pytest.mark.parametrize("state", [ConnectionState.READING, ConnectionState.IDLE])
def test_connections_within_their_grace_time_are_not_evicted(state: ConnectionState) -> None:
    evicted: list[FakeConnection] = []
    limiter = full(1, FakeConnection(state, 9.5, evicted))
    assert limiter.admit(FakeConnection(), 10.0) is Slot.PROBES_ONLY
    assert evicted == []
    assert limiter.admit(FakeConnection(), 11.0) is Slot.REGULAR


def test_when_all_connections_are_active_some_slots_are_left_for_probes_and_then_none() -> None:
    limiter = full(1, FakeConnection())
    places = [limiter.admit(FakeConnection(), 0.0) for _ in range(PROBE_SLOTS + PROBE_BURST + 2)]
    assert places == [Slot.PROBES_ONLY] * (PROBE_SLOTS + PROBE_BURST) + [Slot.REFUSED] * 2
    metrics = {sample.labels.get("reason"): sample.value for family in limiter.collect() for sample in family.samples}
    assert metrics == {None: 1 + PROBE_SLOTS + PROBE_BURST, "idle": 0, "full": PROBE_SLOTS + PROBE_BURST + 2}


def test_a_connection_that_holds_a_probe_slot_without_a_probe_is_evicted() -> None:
    evicted: list[FakeConnection] = []
    limiter = full(1, FakeConnection())
    waiting = [
        FakeConnection(ConnectionState.ACTIVE, 0.0, evicted),
        *(FakeConnection(ConnectionState.NEW, 0.0, evicted) for _ in range(PROBE_SLOTS - 1)),
    ]
    assert {limiter.admit(connection, 0.0) for connection in waiting} == {Slot.PROBES_ONLY}
    waiting[1].has_unread_data = True
    assert limiter.admit(FakeConnection(ConnectionState.ACTIVE), 0.01) is Slot.PROBES_ONLY
    assert evicted == []
    assert limiter.admit(FakeConnection(ConnectionState.ACTIVE), 0.03) is Slot.PROBES_ONLY
    assert evicted == waiting[2:4]


def test_a_connection_with_unread_data_is_not_evicted() -> None:
    evicted: list[FakeConnection] = []
    limiter = full(
        2,
        FakeConnection(ConnectionState.NEW, 0.0, evicted, has_unread_data=True),
        other := FakeConnection(ConnectionState.NEW, 1.0, evicted),
    )
    assert limiter.admit(FakeConnection(), 10.0) is Slot.REGULAR
    assert evicted == [other]
    assert limiter.admit(FakeConnection(), 20.0) is Slot.PROBES_ONLY


def test_a_flood_of_connections_does_not_cause_a_scan_each_time() -> None:
    class Counting(FakeConnection):
        scans = 0

        def state(self) -> ConnectionState:
            Counting.scans += 1
            return ConnectionState.ACTIVE

    limiter = full(3, Counting(), Counting(), Counting())
    for number in range(1_000):
        limiter.admit(FakeConnection(), number / 10_000)
    assert Counting.scans <= 3 * 3


def test_a_connection_that_was_evicted_and_then_closes_is_counted_once() -> None:
    connection = FakeConnection(ConnectionState.NEW)
    limiter = full(1, connection)
    new = FakeConnection()
    assert limiter.admit(new, 1.0) is Slot.REGULAR
    limiter.release(connection)
    assert limiter.admit(FakeConnection(), 1.0) is Slot.PROBES_ONLY
    limiter.release(new)
    assert limiter.admit(FakeConnection(), 1.0) is Slot.REGULAR


@given(
    limit=st.integers(1, 50),
    arrivals=st.lists(st.tuples(st.booleans(), st.sampled_from(ConnectionState), st.floats(0, 1)), max_size=300),
)
def test_the_limit_holds_and_no_active_connection_is_evicted(
    limit: int, arrivals: list[tuple[bool, ConnectionState, float]]
) -> None:
    limiter = ConnectionLimiter(limit)
    now = 0.0
    evicted: list[FakeConnection] = []
    inside: list[FakeConnection] = []
    for arrives, state, pause in arrivals:
        now += pause
        if arrives:
            connection = FakeConnection(state, now, evicted)
            if limiter.admit(connection, now) is not Slot.REFUSED:
                inside.append(connection)
        elif inside:
            limiter.release(inside.pop(0))
        inside = [connection for connection in inside if connection not in evicted]
        assert len(inside) <= limit + PROBE_SLOTS + PROBE_BURST
    assert all(connection.in_state is not ConnectionState.ACTIVE for connection in evicted)


@pytest.mark.parametrize(
    ("wanted", "soft", "hard", "allowed", "raised"),
    [
        (2_048, 65_536, 65_536, 2_048, None),
        (2_048, 1_024, 65_536, 2_048, 2_048 + PROBE_SLOTS + PROBE_BURST + 200),
        (2_048, 1_024, -1, 2_048, 2_048 + PROBE_SLOTS + PROBE_BURST + 200),
        (2_048, 2_000, 2_000, 2_000 - PROBE_SLOTS - PROBE_BURST - 200, 2_000),
        (2_048, 10, 10, 1, 10),
    ],
)
def test_the_file_limit_is_raised_to_what_the_connections_need(
    monkeypatch: pytest.MonkeyPatch, wanted: int, soft: int, hard: int, allowed: int, raised: int | None
) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr("resource.getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr("resource.setrlimit", lambda _, limits: set_to.append(limits))
    assert fit_to_file_limit(wanted) == allowed
    assert set_to == ([] if raised is None else [(raised, hard)])
