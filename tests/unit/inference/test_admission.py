from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_inference.admission import BURST, SPARE, Gate, Place, Standing, affordable


@dataclass(eq=False)
class Visitor:
    """A connection that does what the test says."""

    doing: Standing = Standing.SERVED
    at: float = 0.0
    away: list["Visitor"] = field(default_factory=list)
    has_just_sent: bool = False

    def standing(self) -> Standing:
        return self.doing

    def since(self) -> float:
        return self.at

    def send_away(self) -> bool:
        if self.has_just_sent:
            return False
        self.away.append(self)
        return True


def full(limit: int, *inside: Visitor) -> Gate:
    gate = Gate(limit)
    assert [gate.enter(visitor, 0.0) for visitor in inside] == [Place.INSIDE] * limit
    return gate


def test_everybody_has_a_place_up_to_the_limit_and_whoever_leaves_makes_one() -> None:
    first, second = Visitor(), Visitor()
    gate = full(2, first, second)
    assert gate.enter(Visitor(), 0.0) is Place.SPARE
    gate.leave(first)
    assert gate.enter(Visitor(), 0.0) is Place.INSIDE


def test_who_never_asked_goes_first_and_the_oldest_of_them_before_the_others() -> None:
    went: list[Visitor] = []
    inside = [
        Visitor(Standing.RESTING, 1.0, went),
        Visitor(Standing.ASKING, 2.0, went),
        Visitor(Standing.SILENT, 9.0, went),
        Visitor(Standing.SILENT, 8.0, went),
        Visitor(Standing.SERVED, 0.0, went),
    ]
    gate = full(5, *inside)
    newcomers = [Visitor(Standing.SERVED, 10.0, went) for _ in range(5)]
    assert [gate.enter(newcomer, 10.0) for newcomer in newcomers] == [Place.INSIDE] * 4 + [Place.SPARE]
    assert went == [inside[3], inside[2], inside[1], inside[0]]


@pytest.mark.parametrize("doing", [Standing.ASKING, Standing.RESTING])
def test_who_has_just_begun_to_ask_may_end_and_who_was_just_served_ask_again(doing: Standing) -> None:
    went: list[Visitor] = []
    gate = full(1, Visitor(doing, 9.5, went))
    assert gate.enter(Visitor(), 10.0) is Place.SPARE
    assert went == []
    assert gate.enter(Visitor(), 11.0) is Place.INSIDE


def test_when_all_are_served_some_places_are_left_for_probes_and_then_none() -> None:
    gate = full(1, Visitor())
    places = [gate.enter(Visitor(), 0.0) for _ in range(SPARE + BURST + 2)]
    assert places == [Place.SPARE] * (SPARE + BURST) + [Place.NONE] * 2
    metrics = {sample.labels.get("reason"): sample.value for family in gate.collect() for sample in family.samples}
    assert metrics == {None: 1 + SPARE + BURST, "idle": 0, "full": SPARE + BURST + 2}


def test_who_takes_a_place_for_probes_and_does_not_ask_makes_room_for_the_next() -> None:
    went: list[Visitor] = []
    gate = full(1, Visitor())
    waiting = [Visitor(Standing.SERVED, 0.0, went), *(Visitor(Standing.SILENT, 0.0, went) for _ in range(SPARE - 1))]
    assert {gate.enter(visitor, 0.0) for visitor in waiting} == {Place.SPARE}
    waiting[1].has_just_sent = True
    assert gate.enter(Visitor(Standing.SERVED), 0.01) is Place.SPARE
    assert went == []
    assert gate.enter(Visitor(Standing.SERVED), 0.03) is Place.SPARE
    assert went == waiting[2:4]


def test_whose_question_has_just_arrived_stays() -> None:
    went: list[Visitor] = []
    gate = full(
        2, Visitor(Standing.SILENT, 0.0, went, has_just_sent=True), other := Visitor(Standing.SILENT, 1.0, went)
    )
    assert gate.enter(Visitor(), 10.0) is Place.INSIDE
    assert went == [other]
    assert gate.enter(Visitor(), 20.0) is Place.SPARE


def test_a_flood_does_not_make_it_look_all_the_time() -> None:
    class Counting(Visitor):
        looks = 0

        def standing(self) -> Standing:
            Counting.looks += 1
            return Standing.SERVED

    gate = full(3, Counting(), Counting(), Counting())
    for number in range(1_000):
        gate.enter(Visitor(), number / 10_000)
    assert Counting.looks <= 3 * 3


def test_who_was_sent_away_and_then_leaves_is_counted_once() -> None:
    visitor = Visitor(Standing.SILENT)
    gate = full(1, visitor)
    newcomer = Visitor()
    assert gate.enter(newcomer, 1.0) is Place.INSIDE
    gate.leave(visitor)
    assert gate.enter(Visitor(), 1.0) is Place.SPARE
    gate.leave(newcomer)
    assert gate.enter(Visitor(), 1.0) is Place.INSIDE


@given(
    limit=st.integers(1, 50),
    comings=st.lists(st.tuples(st.booleans(), st.sampled_from(Standing), st.floats(0, 1)), max_size=300),
)
def test_there_are_never_more_than_may_be_and_nobody_who_is_served_goes(
    limit: int, comings: list[tuple[bool, Standing, float]]
) -> None:
    gate = Gate(limit)
    now = 0.0
    went: list[Visitor] = []
    inside: list[Visitor] = []
    for comes, doing, pause in comings:
        now += pause
        if comes:
            visitor = Visitor(doing, now, went)
            if gate.enter(visitor, now) is not Place.NONE:
                inside.append(visitor)
        elif inside:
            gate.leave(inside.pop(0))
        inside = [visitor for visitor in inside if visitor not in went]
        assert len(inside) <= limit + SPARE + BURST
    assert all(visitor.doing is not Standing.SERVED for visitor in went)


@pytest.mark.parametrize(
    ("wanted", "soft", "hard", "may", "raised"),
    [
        (2_048, 65_536, 65_536, 2_048, None),
        (2_048, 1_024, 65_536, 2_048, 2_048 + SPARE + BURST + 200),
        (2_048, 1_024, -1, 2_048, 2_048 + SPARE + BURST + 200),
        (2_048, 2_000, 2_000, 2_000 - SPARE - BURST - 200, 2_000),
        (2_048, 10, 10, 1, 10),
    ],
)
def test_as_many_files_are_asked_for_as_connections_need(
    monkeypatch: pytest.MonkeyPatch, wanted: int, soft: int, hard: int, may: int, raised: int | None
) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr("resource.getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr("resource.setrlimit", lambda _, limits: set_to.append(limits))
    assert affordable(wanted) == may
    assert set_to == ([] if raised is None else [(raised, hard)])
