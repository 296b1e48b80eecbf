from __future__ import annotations

from typing import Any

import pytest

from iris_operator.engine.drift import matches


@pytest.mark.parametrize(
    ("observed", "desired"),
    [
        ({"a": 1, "theirs": 2}, {"a": 1}),
        ({"limits": {"cpu": "500m", "memory": "1Gi"}}, {"limits": {"cpu": 0.5, "memory": "1024Mi"}}),
        ([{"name": "theirs"}, {"name": "ours", "x": 1, "defaulted": True}], [{"name": "ours", "x": 1}]),
        ({}, {"resources": {}}),
        ({"a": {"b": None}}, {"a": {}}),
    ],
)
def test_foreign_fields_and_server_formatting_do_not_count_as_drift(observed: Any, desired: Any) -> None:
    assert matches(observed, desired)


@pytest.mark.parametrize(
    ("observed", "desired"),
    [
        ({"a": 2}, {"a": 1}),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}),
        ({}, {"a": 1}),
        (None, {"a": 1}),
        ({"limits": {"cpu": "501m"}}, {"limits": {"cpu": 0.5}}),
        ([{"name": "theirs"}], [{"name": "ours"}]),
        ([1, 2], [1]),
        ({"a": {"limits": "x"}}, {"a": {"limits": "y"}}),
    ],
)
def test_an_applied_field_that_differs_counts_as_drift(observed: Any, desired: Any) -> None:
    assert not matches(observed, desired)
