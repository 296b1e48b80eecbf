"""docs/production.md says what keeps each promise: those files and tests exist, by these names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TABLE = ROOT / "docs" / "production.md"
ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in TABLE.read_text().splitlines()
    if line.startswith("|") and not re.match(r"\| (promise|---)", line)
]


def named(cell: str) -> list[str]:
    found = re.findall(r"`([^`]+)`", cell)
    assert " ".join(f"`{name}`" for name in found) == cell, f"{cell!r} is more than a list of files"
    return found


def missing(name: str) -> str:
    """What is wrong with a file or a `file::test`; empty when it is there."""
    path, _, test = name.partition("::")
    if not (ROOT / path).is_file():
        return f"{path} does not exist"
    if test and not re.search(rf"^(async )?def {re.escape(test)}\(", (ROOT / path).read_text(), re.MULTILINE):
        return f"{path} has no {test}"
    return ""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_a_row_names_is_there(row: list[str]) -> None:
    _, made_true_by, held_by = row
    assert [problem for name in named(made_true_by) + named(held_by) if (problem := missing(name))] == []
    assert named(made_true_by)
    assert named(held_by)
    assert not [name for name in named(made_true_by) if name.startswith("tests/")]
    assert not [name for name in named(held_by) if not name.startswith("tests/")]


def test_each_promise_is_made_once() -> None:
    promises = [row[0] for row in ROWS]
    assert len(promises) == len(set(promises)) > 30
