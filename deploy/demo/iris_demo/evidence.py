"""The evidence against each canary, from the statuses that the demo saw, drawn by the operator's own command."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from iris_demo.observations import Observation, ReleaseSeen, RouteSeen

Line = Sequence[tuple[float, float]]
"""Points: seconds, and a value."""

# Where the command lives. It is run like any user runs it: the demo knows the operator only from outside.
OPERATOR = Path(__file__).parents[3] / "operator"
DRAW = ("iris_operator.cli", "draw")


class NotDrawnError(Exception):
    """The operator's command could not draw; the message has what it said."""


def lines(seen: Sequence[Observation], version: str, start: float, end: float) -> dict[str, Line]:
    """By check: seconds since ``start``, and the evidence against ``version`` as a share of what rolls back."""
    found: dict[str, list[tuple[float, float]]] = {}
    for entry in seen:
        if not isinstance(entry, ReleaseSeen) or not start <= entry.at <= end or entry.release.wanted != version:
            continue
        for check in entry.release.checks if entry.release.current else ():
            if check.worse is not None:
                found.setdefault(check.name, []).append((entry.at - start, check.worse))
    return {name: tuple(points) for name, points in found.items()}


def weights(seen: Sequence[Observation], start: float, end: float) -> Line:
    """The canary's share of the traffic in percent, at the seconds since ``start`` at which it changed."""
    changes = [
        (entry.at - start, float(entry.weight))
        for entry in seen
        if isinstance(entry, RouteSeen) and start <= entry.at <= end
    ]
    last = changes[-1][1] if changes else 0.0
    return ((0.0, 0.0), *changes, (end - start, last))


def write(seen: Sequence[Observation], version: str, start: float, end: float, path: Path) -> Path | None:
    """Write what was seen of ``version`` in its time beside ``path``, as CSV, and draw it into ``path``.

    None when no check had evidence to show. Raises NotDrawnError.
    """
    found = lines(seen, version, start, end)
    if not found:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = path.with_suffix(".csv")
    _table(found, weights(seen, start, end), figures)
    _draw(figures, path, f"version {version}")
    return path


def _table(found: dict[str, Line], share: Line, path: Path) -> None:
    rows: dict[float, dict[str, float]] = {}
    for name, line in {"weight": share, **found}.items():
        for second, value in line:
            rows.setdefault(second, {"second": second})[name] = value
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("second", "weight", *found), restval="")
        writer.writeheader()
        writer.writerows(rows[second] for second in sorted(rows))


def _draw(figures: Path, picture: Path, title: str) -> None:
    command = (sys.executable, "-m", *DRAW, str(figures), "--png", str(picture), "--title", title)
    environment = os.environ | {"PYTHONPATH": str(OPERATOR)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise NotDrawnError(f"`{' '.join(DRAW)}` ended with exit code {ended.returncode}: {ended.stderr.strip()}")
