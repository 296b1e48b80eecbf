"""`iris-analysis replay FILE`: run the rule over recorded counts, to try margins on a past release.

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

from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.judge import Judgement, judge, learn
from iris_operator.analysis.sentences import odds
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.spec import Analysis
from iris_operator.cli.picture import draw as draw_picture

_WIDTH = 40
_SIDES = ("canary", "stable")


class WrongFile(Exception):
    """A recording that cannot be read; the message names the line and what is wrong with it."""


@dataclass(frozen=True)
class Row:
    """One interval of a recording: seconds since its start, the next weight in percent, and the counts."""

    second: float
    next_weight: int
    interval: Interval
    alone: bool
    """Stable alone, before the canary gets a request."""


@dataclass(frozen=True)
class Point:
    """One judged interval."""

    second: float
    judgement: Judgement


def read_rows(path: Path) -> Iterator[Row]:
    """The intervals of a recording.

    Raises:
        WrongFile: a column is missing, or a value is no count.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        for number, row in enumerate(reader, 2):
            try:
                counts = {side: _counts(row, side) for side in _SIDES}
                yield Row(
                    second=float(row["second"]),
                    next_weight=int(row["next_weight"]),
                    interval=Interval(counts["canary"], counts["stable"], weight=_weight(row)),
                    alone=counts["canary"].total == 0,
                )
            except (KeyError, ValueError, TypeError) as error:
                raise WrongFile(f"{path}, line {number}: {type(error).__name__}: {error}") from error


def replay(rows: Sequence[Row], settings: Analysis) -> list[Point]:
    """The judgements of a recording up to the one that ends it: the first Fail, or the last row."""
    measured = _measured(rows)
    memory: Mapping[str, object] = {}
    points: list[Point] = []
    for row in rows:
        stable = row.interval.stable
        if row.alone and stable is not None and not points:
            memory = learn(stable, memory, settings, measured)
            continue
        judgement = judge(row.interval, memory, settings, row.next_weight, measured)
        memory = judgement.memory
        points.append(Point(row.second, judgement))
        if judgement.verdict is Verdict.FAIL:
            break
    return points


def draw(points: Sequence[Point], settings: Analysis) -> Iterator[str]:
    """The evidence over time as lines of text: `#` towards a rollback, `+` towards the next step."""
    needed = math.log(1 / settings.false_rollback)
    yield f"{'second':>8}  {'worse':>12}  |{'rollback at ' + odds(needed):->{_WIDTH}}|  verdict"
    for point in points:
        worst = _worst(point)
        filled = round(_WIDTH * min(1.0, max(0.0, worst / needed)))
        bar = ("#" * filled).ljust(_WIDTH)
        yield f"{point.second:>8.0f}  {odds(worst):>12}  |{bar}|  {point.judgement.verdict.value}"
    if points:
        yield ""
        for result in points[-1].judgement.results:
            yield f"{result.name} {result.verdict.value}: {result.reason}"


def plot(points: Sequence[Point], path: Path) -> None:
    """The evidence of every check over time as a picture.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; it is no part of the operator's image.
    """
    lines: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        for result in point.judgement.results:
            if result.worse is not None and result.bounds is not None:
                share = result.worse / result.bounds.rollback_at
                lines.setdefault(result.name, []).append((point.second, share))
    draw_picture(lines, path)


def run(file: Path, settings: Analysis, png: Path | None) -> int:
    """Replay a file; 0 when it ends without a Fail, 1 with one, 2 when it cannot be read."""
    try:
        rows = list(read_rows(file))
    except (WrongFile, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if not rows:
        print(f"{file}: no intervals in it", file=sys.stderr)
        return 2
    points = replay(rows, settings)
    print("\n".join(draw(points, settings)))
    if png and points:
        plot(points, png)
        print(f"\nwrote {png}")
    return int(any(point.judgement.verdict is Verdict.FAIL for point in points))


def _counts(row: Mapping[str, str], side: str) -> RequestCounts:
    """Columns such as `canary_requests`, `canary_errors`, `canary_le_0.025`, `canary_class_setosa`."""
    total, errors = int(row[f"{side}_requests"]), int(row[f"{side}_errors"])
    bounds = {float(name): count for name, count in _family(row, f"{side}_le_").items()}
    return RequestCounts(
        by_code={"200": total - errors, "500": errors},
        at_most=bounds,
        timed=max([total, *bounds.values()]),
        failures=_optional(row, f"{side}_failures"),
        by_class=_family(row, f"{side}_class_") or None,
        correct=_optional(row, f"{side}_correct"),
        incorrect=_optional(row, f"{side}_incorrect"),
        cached=_cached(row, side),
    )


def _cached(row: Mapping[str, str], side: str) -> dict[str, dict[float, int]] | None:
    """Columns such as `canary_local_le_0.025`: of a recording that has none it is not known what the cache answered."""
    tiers = [found[1] for name in row if (found := re.fullmatch(rf"{side}_(\w+)_le_inf", name or ""))]
    histograms = {tier: _family(row, f"{side}_{tier}_le_") for tier in tiers}
    return {tier: {float(name): count for name, count in of.items()} for tier, of in histograms.items()} or None


def _family(row: Mapping[str, str], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): int(value) for name, value in row.items() if name and name.startswith(prefix)}


def _optional(row: Mapping[str, str], name: str) -> int | None:
    return int(row[name]) if row.get(name) else None


def _weight(row: Mapping[str, str]) -> float | None:
    return float(row["weight"]) / 100 if row.get("weight") else None


def _measured(rows: Sequence[Row]) -> frozenset[str]:
    """The checks that the recording has columns for."""
    counts = rows[0].interval.stable
    if counts is None:
        return frozenset({"errorRate"})
    columns = {
        "inferenceFailures": counts.failures is not None,
        "latency": bool(counts.at_most),
        "predictionDrift": counts.by_class is not None,
        "accuracy": counts.incorrect is not None,
    }
    return frozenset({"errorRate", *(name for name, there in columns.items() if there)})


def _worst(point: Point) -> float:
    """Log evidence over all checks; each check's bound holds its part in the alarm."""
    return math.log(max(1e-9, point.judgement.worse))
