"""The queries that docs/logs.md gives to people, so that what is tested is what they are told."""

from __future__ import annotations

import re
from pathlib import Path

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "logs.md"


def queries(heading: str, **names: str) -> list[str]:
    """The LogsQL below a heading, with the words in capitals replaced."""
    sections = re.split(r"^## ", _PAGE.read_text(), flags=re.MULTILINE)
    (section,) = [text for text in sections if text.startswith(f"{heading}\n")]
    found = [text.strip() for text in re.findall(r"^```logsql\n(.*?)^```", section, re.MULTILINE | re.DOTALL)]
    assert found, f"no LogsQL below {heading!r}"
    return [_filled(query, names) for query in found]


def _filled(query: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        query = query.replace(name.upper(), value)
    return query
