"""Plot the evidence over time."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

Series = Sequence[tuple[float, float]]
"""Points: a time in seconds, and a value."""

# Limits of the axis, as multiples of the threshold for a rollback.
_LOWEST, _HIGHEST = 1e-4, 10.0


class InvalidEvidence(Exception):
    """A file of evidence that cannot be plotted; the message has its name, the line and the error."""


def read_evidence(path: Path) -> tuple[dict[str, Series], Series]:
    """The evidence of every check and the canary's share of the traffic from a CSV file; empty cells are skipped.

    Columns: `second`; `weight`, percent from that second on; the others are checks, as multiples of the threshold.

    Raises:
        InvalidEvidence: the column `second` is missing, a value is not a number, or there are no values.
    """
    series: dict[str, list[tuple[float, float]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                second = float(row.pop("second"))
                for name, value in row.items():
                    if value:
                        series.setdefault(name, []).append((second, float(value)))
            except (KeyError, ValueError, TypeError) as error:
                raise InvalidEvidence(f"{path}, line {number}: {type(error).__name__}: {error}") from error
    weights = series.pop("weight", [])
    if not series:
        raise InvalidEvidence(f"{path}: no evidence in it")
    return dict(series), weights


def plot_evidence(evidence: Mapping[str, Series], path: Path, *, title: str = "", weights: Series = ()) -> None:
    """Plot the evidence of every check, as a multiple of the threshold, into the file `path`: PNG, SVG or PDF.

    `weights` are the canary's shares of the traffic in percent, each from its second on.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the operator's image does not contain it.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - only plots need it

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for name, points in evidence.items():
        clipped = [min(max(value, _LOWEST), _HIGHEST) for _, value in points]
        axes.plot([second for second, _ in points], clipped, marker=".", label=name)
    axes.axhline(1.0, color="black", linestyle="--", linewidth=1)
    axes.annotate("rolls back", (0.01, 1.0), xycoords=("axes fraction", "data"), va="bottom")
    axes.set(
        xlabel="seconds", ylabel="evidence that the canary is worse, of what rolls back", yscale="log", title=title
    )
    axes.set_ylim(_LOWEST, _HIGHEST)
    if weights:
        share = axes.twinx()
        seconds, percent = zip(*weights, strict=True)
        share.fill_between(seconds, percent, step="post", color="0.88", zorder=0)
        share.set(ylabel="canary's share of the traffic, %", ylim=(0, 100))
        # The evidence in front of the share, whose axes were created later.
        axes.set_zorder(share.get_zorder() + 1)
        axes.patch.set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(evidence))
    figure.savefig(path, dpi=120)
