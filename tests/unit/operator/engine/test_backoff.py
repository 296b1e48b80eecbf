"""Waits between retries."""

from __future__ import annotations

from iris_operator.engine.backoff import backoff_seconds


def test_each_wait_is_twice_as_long_up_to_the_limit() -> None:
    waits = [backoff_seconds(failures, lambda: 1.0, first=1.0, longest=30.0) for failures in (1, 2, 3, 6, 10_000)]
    assert waits == [1.0, 2.0, 4.0, 30.0, 30.0]


def test_chance_takes_up_to_a_half() -> None:
    assert backoff_seconds(3, lambda: 0.0, first=1.0, longest=30.0) == 2.0
    assert backoff_seconds(3, lambda: 0.5, first=1.0, longest=30.0) == 3.0
