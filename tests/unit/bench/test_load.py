"""The report of wrk's script."""

import json
from typing import Any

import pytest

from bench.inference.load import Load, LoadError, parse

NO_ERRORS = {"connect": 0, "read": 0, "write": 0, "status": 0, "timeout": 0}


def output(**changes: Any) -> str:
    report = {
        "requests": 100,
        "microseconds": 2_000_000,
        "made": 103,
        "bodies": 200,
        "errors": NO_ERRORS,
        "latencies": {"500": 90, "900": 10},
    }
    return f"Running 2s test @ http://127.0.0.1\n  1 threads\nREPORT {json.dumps(report | changes)}\n"


def test_a_report_is_found_in_the_output_of_wrk() -> None:
    load = parse(output(), connections=2)
    assert load == Load(100, 2.0, 103, 200, NO_ERRORS, {500: 90, 900: 10})
    assert load.rate == 50
    assert (load.milliseconds(90), load.milliseconds(99)) == (0.5, 0.9)
    assert load.failed == 0


def test_synthetic_latencies_do_not_count() -> None:
    # 100 answers on 2 connections in 2 s: wrk expects one each 40,000 us, and makes 5 more of the 5 that took 130,000.
    load = parse(output(latencies={"500": 95, "50000": 5, "90000": 5, "130000": 5}), connections=2)
    assert load.latencies == {500: 95, 130_000: 5}
    assert load.milliseconds(95) == 0.5


@pytest.mark.parametrize("kind", sorted(NO_ERRORS))
def test_every_kind_of_error_is_a_failure(kind: str) -> None:
    lost = 3 if kind == "timeout" else 0
    load = parse(output(errors=NO_ERRORS | {kind: 3}, latencies={"500": 100 - lost}), connections=2)
    assert load.failed == 3


@pytest.mark.parametrize(("made", "distinct"), [(200, True), (201, False)])
def test_exhausted_bodies_are_detected(made: int, distinct: bool) -> None:
    assert parse(output(made=made), connections=2).all_distinct is distinct


def test_latencies_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(LoadError, match="100 answers and 99 latencies"):
        parse(output(latencies={"500": 99}), connections=2)


def test_latencies_that_wrk_cannot_have_written_are_refused() -> None:
    with pytest.raises(LoadError, match="contradict"):
        parse(output(latencies={"500": 95, "130000": 5}), connections=2)


def test_a_missing_report_is_an_error_that_shows_the_output() -> None:
    with pytest.raises(LoadError, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:1 Connection refused\n", connections=2)


def test_fewer_responses_than_connections_is_an_error() -> None:
    with pytest.raises(LoadError, match="too few"):
        parse(output(requests=1, latencies={"500": 1}), connections=2)
