"""Plots the evidence against each canary, from the observed statuses, with the operator's own command."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from iris_demo.observations import Observation, ReleaseObserved

Points = Sequence[tuple[float, float]]
"""Pairs of seconds and a value."""

# Where the command lives. It is run as a program, like a user would: the demo imports nothing of the operator.
OPERATOR = Path(__file__).parents[3] / "operator"
DRAW_COMMAND = ("iris_operator.cli", "draw")


class PlotError(Exception):
    """The operator's command could not draw; the message includes its standard error."""


def evidence_by_check(observations: Sequence[Observation], version: str, start: float, end: float) -> dict[str, Points]:
    """By check: seconds since ``start``, and the evidence against ``version`` as a share of what causes a rollback."""
    points: dict[str, list[tuple[float, float]]] = {}
    for entry in observations:
        if (
            not isinstance(entry, ReleaseObserved)
            or not start <= entry.at <= end
            or entry.release.spec_version != version
        ):
            continue
        for check in entry.release.checks if entry.release.is_current else ():
            if check.evidence_share is not None:
                points.setdefault(check.name, []).append((entry.at - start, check.evidence_share))
    return {name: tuple(points) for name, points in points.items()}


def weight_changes(observations: Sequence[Observation], start: float, end: float) -> Points:
    """The new version's share of the traffic in percent, at the seconds since ``start`` at which it changed."""
    points = [(0.0, 0.0)]
    for entry in observations:
        if isinstance(entry, ReleaseObserved) and start <= entry.at <= end and entry.release.weight != points[-1][1]:
            points.append((entry.at - start, float(entry.release.weight)))
    return (*points, (end - start, points[-1][1]))


def write_plot(observations: Sequence[Observation], version: str, start: float, end: float, path: Path) -> Path | None:
    """Write the evidence against ``version`` as CSV next to ``path``, and plot it into ``path``.

    Returns None when no check had evidence. Raises PlotError.
    """
    points = evidence_by_check(observations, version, start, end)
    if not points:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.with_suffix(".csv")
    _write_csv(points, weight_changes(observations, start, end), data)
    _draw(data, path, f"version {version}")
    return path


def _write_csv(points: dict[str, Points], share: Points, path: Path) -> None:
    rows: dict[float, dict[str, float]] = {}
    for name, line in {"weight": share, **points}.items():
        for second, value in line:
            rows.setdefault(second, {"second": second})[name] = value
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("second", "weight", *points), restval="")
        writer.writeheader()
        writer.writerows(rows[second] for second in sorted(rows))


def _draw(data: Path, plot: Path, title: str) -> None:
    command = (sys.executable, "-m", *DRAW_COMMAND, str(data), "--png", str(plot), "--title", title)
    environment = os.environ | {"PYTHONPATH": str(OPERATOR)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise PlotError(f"`{' '.join(DRAW_COMMAND)}` ended with exit code {ended.returncode}: {ended.stderr.strip()}")
