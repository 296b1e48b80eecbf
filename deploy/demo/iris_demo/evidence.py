"""The evidence against each canary as a picture, from the statuses that the demo saw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from iris_demo.observations import Observation, ReleaseSeen, RouteSeen
from iris_operator.cli.picture import Line, draw


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
    """Draw what was seen of ``version`` in its time into ``path``; None when no check had evidence to show."""
    found = lines(seen, version, start, end)
    if not found:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(found, path, title=f"version {version}", weights=weights(seen, start, end))
    return path
