from __future__ import annotations

import copy
from typing import Any

import pytest

from iris_operator.engine.drift import is_current, matches


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


APPLIED: dict[str, Any] = {
    "f:metadata": {"f:labels": {"f:ours": {}}},
    "f:spec": {
        "f:tls": {},
        "f:containers": {'k:{"name":"inference"}': {".": {}, "f:env": {'k:{"name":"A"}': {".": {}, "f:value": {}}}}},
        "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:name": {}}},
        "f:set": {'v:"one"': {}},
    },
}
WHOLE: dict[str, Any] = {
    "metadata": {"labels": {"ours": "1"}},
    "spec": {
        "tls": [],
        "containers": [{"name": "inference", "env": [{"name": "A", "value": "1"}]}],
        "ports": [{"port": 80, "name": "http"}],
        "set": ["one"],
    },
}


def stored(manager: str = "iris-operator", operation: str = "Apply", **entry: Any) -> dict[str, Any]:
    fields = [{"manager": manager, "operation": operation, "fieldsV1": APPLIED, **entry}]
    return {**WHOLE, "metadata": {**WHOLE["metadata"], "managedFields": fields}}


def without(*path: str | int) -> dict[str, Any]:
    desired = copy.deepcopy(WHOLE)
    item: Any = desired
    for step in path[:-1]:
        item = item[step]
    del item[path[-1]]
    return desired


LEFT_OUT = [
    ("metadata", "labels"),
    ("metadata", "labels", "ours"),
    ("spec", "tls"),
    ("spec", "containers", 0, "env"),
    ("spec", "containers", 0, "env", 0, "value"),
    ("spec", "ports", 0, "name"),
]


def test_an_object_that_is_as_it_was_applied_is_current() -> None:
    assert is_current(stored(), WHOLE)
    assert not is_current(None, WHOLE)


@pytest.mark.parametrize("path", LEFT_OUT, ids=str)
def test_a_field_that_was_applied_and_is_taken_out_is_drift(path: tuple[str | int, ...]) -> None:
    assert not is_current(stored(), without(*path))


@pytest.mark.parametrize("path", LEFT_OUT, ids=str)
def test_a_field_that_somebody_else_set_is_none(path: tuple[str | int, ...]) -> None:
    for other in (stored("kubectl"), stored(operation="Update"), stored(subresource="status")):
        assert is_current(other, without(*path))


def test_a_variable_that_is_taken_out_is_drift() -> None:
    desired = copy.deepcopy(WHOLE)
    desired["spec"]["containers"][0]["env"] = []
    observed = stored()
    assert not is_current(observed, desired)


@pytest.mark.parametrize("selector", [{"a": "1", "theirs": "2"}, {}, None])
def test_a_selector_is_compared_as_a_whole(selector: Any) -> None:
    assert not matches({"spec": {"selector": selector}}, {"spec": {"selector": {"a": "1"}}})
