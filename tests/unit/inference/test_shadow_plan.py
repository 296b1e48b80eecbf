import json
from pathlib import Path
from typing import Any

import pytest

from iris_inference.shadow.plan import Plan, PlanError, parse, read

GOOD = {"revision": "def456", "url": "http://iris-canary.iris.svc:80", "share": 0.25}


def test_a_plan_says_who_gets_how_much() -> None:
    assert parse(json.dumps(GOOD).encode()) == Plan("def456", "iris-canary.iris.svc", 80, 0.25)


def test_without_a_file_or_with_an_empty_one_there_is_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    assert read(path) is None
    path.write_text(" \n")
    assert read(path) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"share": -0.1},
        {"share": 1.1},
        {"share": "half"},
        {"revision": ""},
        {"revision": "a\r\nb"},
        {"revision": "r" * 64},
        {"url": "https://iris-canary:443"},
        {"url": "http://user@iris-canary"},
        {"url": "http://iris-canary/v1/predict"},
        {"url": "http://iris-canary?x=1"},
        {"url": "http://iris-canary:99999"},
        {"url": "iris-canary"},
        {"more": 1},
    ],
)
def test_what_is_no_plan_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        parse(json.dumps({**GOOD, **changed}).encode())


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"{}", b" " * 5_000 + b"1", b"x" * 5_000])
def test_what_is_no_json_of_a_plan_is_refused(content: bytes) -> None:
    with pytest.raises(PlanError):
        parse(content)


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be read"):
        read(tmp_path)
