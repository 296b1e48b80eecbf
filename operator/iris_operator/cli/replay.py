"""`iris-analysis replay FILE`: run the rule over recorded counts, to try other margins on a past release.

`python -m iris_operator.cli replay counts.csv --max-harm 0.01`. The columns are described in docs/analysis.md.
"""

from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from iris_operator.analysis.check import Shape
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.formatting import odds
from iris_operator.analysis.judge import Judgement, judge, update_baseline
from iris_operator.analysis.registry import build_checks
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.checks import Analysis
from iris_operator.cli.plot import plot_evidence

_WIDTH = 40
_REVISIONS = ("canary", "stable")


class InvalidRecording(Exception):
    """A recording that cannot be read; the message names the line and the error."""


@dataclass(frozen=True)
class Row:
    """One interval of a recording: seconds since its start, the next weight in percent, and the counts."""

    second: float
    next_weight: int
    interval: Interval
    stable_only: bool
    """The canary has no requests yet."""


@dataclass(frozen=True)
class Point:
    """One judged interval."""

    second: float
    judgement: Judgement


def read_rows(path: Path) -> Iterator[Row]:
    """The intervals of a recording.

    Raises:
        InvalidRecording: a column is missing, or a value is not a count.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        for number, row in enumerate(reader, 2):
            try:
                counts = {revision: _counts(row, revision) for revision in _REVISIONS}
                yield Row(
                    second=float(row["second"]),
                    next_weight=int(row["next_weight"]),
                    interval=Interval(counts["canary"], counts["stable"], weight=_weight(row)),
                    stable_only=counts["canary"].total == 0,
                )
            except (KeyError, ValueError, TypeError) as error:
                raise InvalidRecording(f"{path}, line {number}: {type(error).__name__}: {error}") from error


def replay(rows: Sequence[Row], settings: Analysis) -> list[Point]:
    """The judgements of a recording up to the one that ends it: the first Fail, or the last row."""
    measured = _measured(rows, settings)
    checkpoint: Mapping[str, object] = {}
    points: list[Point] = []
    for row in rows:
        stable = row.interval.stable
        if row.stable_only and stable is not None and not points:
            checkpoint = update_baseline(stable, checkpoint, settings, measured)
            continue
        judgement = judge(row.interval, checkpoint, settings, row.next_weight, measured)
        checkpoint = judgement.checkpoint
        points.append(Point(row.second, judgement))
        if judgement.verdict is Verdict.FAIL:
            break
    return points


def text_chart(points: Sequence[Point], settings: Analysis) -> Iterator[str]:
    """The evidence over time as lines of text: the bar is full at the threshold for a rollback."""
    needed = math.log(1 / settings.false_rollback)
    yield f"{'second':>8}  {'worse':>12}  |{'rollback at ' + odds(needed):->{_WIDTH}}|  verdict"
    for point in points:
        log_e = _log_regression(point)
        filled = round(_WIDTH * min(1.0, max(0.0, log_e / needed)))
        bar = ("#" * filled).ljust(_WIDTH)
        yield f"{point.second:>8.0f}  {odds(log_e):>12}  |{bar}|  {point.judgement.verdict.value}"
    if points:
        yield ""
        for result in points[-1].judgement.results:
            yield f"{result.name} {result.verdict.value}: {result.reason}"


def save_plot(points: Sequence[Point], path: Path) -> None:
    """Plot the evidence of every check over time.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the operator's image does not contain it.
    """
    evidence: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        for result in point.judgement.results:
            if result.regression_e_value is not None and result.thresholds is not None:
                multiple = result.regression_e_value / result.thresholds.rollback_at
                evidence.setdefault(result.name, []).append((point.second, multiple))
    plot_evidence(evidence, path)


def run(file: Path, settings: Analysis, png: Path | None) -> int:
    """Replay a file; 0 when it ends without a Fail, 1 with one, 2 when it cannot be read."""
    try:
        rows = list(read_rows(file))
    except (InvalidRecording, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if not rows:
        print(f"{file}: no intervals in it", file=sys.stderr)
        return 2
    points = replay(rows, settings)
    print("\n".join(text_chart(points, settings)))
    if png and points:
        save_plot(points, png)
        print(f"\nwrote {png}")
    return int(any(point.judgement.verdict is Verdict.FAIL for point in points))


def _counts(row: Mapping[str, str], revision: str) -> RequestCounts:
    """Columns such as `canary_requests`, `canary_errors`, `canary_le_0.025`, `canary_class_setosa`."""
    total, errors = int(row[f"{revision}_requests"]), int(row[f"{revision}_errors"])
    bounds = {float(name): count for name, count in _family(row, f"{revision}_le_").items()}
    return RequestCounts(
        by_code={"200": total - errors, "500": errors},
        at_most=bounds,
        timed=max([total, *bounds.values()]),
        failures=_optional(row, f"{revision}_failures"),
        by_class=_family(row, f"{revision}_class_") or None,
        correct=_optional(row, f"{revision}_correct"),
        incorrect=_optional(row, f"{revision}_incorrect"),
        cached=_cached(row, revision),
    )


def _cached(row: Mapping[str, str], revision: str) -> dict[str, dict[float, int]] | None:
    """Columns such as `canary_local_le_0.025`; None for a recording without any: its cache is not known."""
    tiers = [match[1] for name in row if (match := re.fullmatch(rf"{revision}_(\w+)_le_inf", name or ""))]
    histograms = {tier: _family(row, f"{revision}_{tier}_le_") for tier in tiers}
    return {tier: {float(name): count for name, count in of.items()} for tier, of in histograms.items()} or None


def _family(row: Mapping[str, str], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): int(value) for name, value in row.items() if name and name.startswith(prefix)}


def _optional(row: Mapping[str, str], name: str) -> int | None:
    return int(row[name]) if row.get(name) else None


def _weight(row: Mapping[str, str]) -> float | None:
    return float(row["weight"]) / 100 if row.get("weight") else None


def _measured(rows: Sequence[Row], settings: Analysis) -> frozenset[str]:
    """The checks that the recording has columns for."""
    counts = rows[0].interval.stable or RequestCounts()
    checks = build_checks(settings.checks, Shape())
    return frozenset(name for name, check in checks.items() if check.is_measured(counts))


def _log_regression(point: Point) -> float:
    """Logarithm of the combined e-value of all checks."""
    return math.log(max(1e-9, point.judgement.regression_e_value))
