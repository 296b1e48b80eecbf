"""What makes a measurement void."""

from typing import Any

import pytest

from bench.inference.cases import CASES, order
from bench.inference.load import Load
from bench.inference.run import RecordingResult, void_reasons

MISSES = CASES["ours"]
HITS = CASES["ours-hits"]
BATCH = CASES["ours-batch"]


def load(**changes: Any) -> Load:
    values: dict[str, Any] = {
        "requests": 100, "seconds": 1.0, "made": 132, "bodies": 200, "errors": {"status": 0}, "latencies": {1: 100},
    }  # fmt: skip
    return Load(**values | changes)


def behind(**changes: Any) -> RecordingResult:
    values: dict[str, Any] = {
        "hit_share": 0.0, "largest_backlog": 0, "drain_seconds": 0.0,
        "recorded": 241, "different": 241, "acknowledged": 241,
    }  # fmt: skip
    return RecordingResult(**values | changes)


def test_a_clean_measurement_is_not_void() -> None:
    assert void_reasons(MISSES, [load(), load()], behind(), connections=32) == []


@pytest.mark.parametrize("place", [0, 1])
def test_one_error_makes_a_run_void_even_while_warming_up(place: int) -> None:
    loads = [load(), load()]
    loads[place] = load(errors={"status": 1, "read": 0})
    (objection,) = void_reasons(MISSES, loads, behind(), connections=32)
    assert objection.startswith("1 of 100 requests failed")


def test_repeated_instances_are_not_misses() -> None:
    repeated = load(made=201)
    assert void_reasons(MISSES, [repeated], None, connections=32) == ["only 200 bodies for 201 requests"]
    assert void_reasons(HITS, [repeated], None, connections=32) == []


def test_a_missing_or_additional_record_makes_a_run_void() -> None:
    # Two loads end with a request on each of the 32 connections, which may or may not be recorded.
    for recorded, good in ((240, False), (241, True), (241 + 64, True), (241 + 65, False)):
        seen = behind(recorded=recorded, different=recorded)
        assert (void_reasons(MISSES, [load(), load()], seen, connections=32) == []) is good


def test_unanswered_batches_may_have_been_recorded() -> None:
    seen = behind(recorded=241 + 32 * 256, different=241 + 32 * 256)
    assert void_reasons(BATCH, [load()], seen, connections=32) == []


def test_a_duplicate_record_makes_a_run_void() -> None:
    (objection,) = void_reasons(MISSES, [load(), load()], behind(recorded=242, different=241), connections=32)
    assert objection == "1 predictions were recorded twice"


def test_the_hit_rate_must_match_the_case() -> None:
    assert void_reasons(MISSES, [load()], behind(hit_share=0.02), connections=32) != []
    assert void_reasons(HITS, [load()], behind(hit_share=0.5), connections=32) != []
    assert void_reasons(HITS, [load()], behind(hit_share=0.99), connections=32) == []


def test_every_repetition_measures_all_cases_in_rotated_order() -> None:
    cases = list(CASES.values())
    orders = [order(cases, repetition, 3) for repetition in range(3)]
    assert [sorted(case.name for case in one) for one in orders] == [sorted(CASES)] * 3
    assert len({one[0].name for one in orders}) == 3
    for case in cases:
        assert len({one.index(case) for one in orders}) == 3
