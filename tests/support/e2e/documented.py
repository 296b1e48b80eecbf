"""The queries of docs/logs.md, so that the documented queries are the tested ones."""

from __future__ import annotations

import re
from pathlib import Path

_PAGE = Path(__file__).resolve().parents[3] / "docs" / "logs.md"


def queries(heading: str, **names: str) -> list[str]:
    """The LogsQL below a heading, with the placeholders in capitals replaced."""
    sections = re.split(r"^## ", _PAGE.read_text(), flags=re.MULTILINE)
    (section,) = [text for text in sections if text.startswith(f"{heading}\n")]
    found = [text.strip() for text in re.findall(r"^```logsql\n(.*?)^```", section, re.MULTILINE | re.DOTALL)]
    assert found, f"no LogsQL below {heading!r}"
    return [_substitute(query, names) for query in found]


def _substitute(query: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        query = query.replace(name.upper(), value)
    return query
