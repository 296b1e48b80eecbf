"""The evidence over time as a picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

Line = Sequence[tuple[float, float]]
"""Points: seconds, and a value."""

# Below a ten-thousandth of what rolls back there is nothing to see, and above ten times that it has been decided.
_LOWEST, _HIGHEST = 1e-4, 10.0


class WrongEvidence(Exception):
    """A file of evidence that cannot be drawn; the message names it, the line, and what is wrong."""


def read(path: Path) -> tuple[dict[str, Line], Line]:
    """The evidence of every check, and the canary's shares of the traffic, of a CSV; an empty cell says nothing.

    Columns: `second`; `weight`, percent from that second on; the others are checks, as shares of what rolls back.

    Raises:
        WrongEvidence: there is no column `second`, a value is no number, or there is none.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                second = float(row.pop("second"))
                for name, value in row.items():
                    if value:
                        found.setdefault(name, []).append((second, float(value)))
            except (KeyError, ValueError, TypeError) as error:
                raise WrongEvidence(f"{path}, line {number}: {type(error).__name__}: {error}") from error
    weights = found.pop("weight", [])
    if not found:
        raise WrongEvidence(f"{path}: no evidence in it")
    return dict(found), weights


def draw(lines: Mapping[str, Line], path: Path, *, title: str = "", weights: Line = ()) -> None:
    """Draw the evidence of every check, each as a share of what rolls back, into the PNG (or SVG, PDF) `path`.

    `weights` are the canary's shares of the traffic in percent, each from its second on.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; it is no part of the operator's image.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - only who asks for a picture needs it

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for name, line in lines.items():
        clipped = [min(max(value, _LOWEST), _HIGHEST) for _, value in line]
        axes.plot([second for second, _ in line], clipped, marker=".", label=name)
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
        # The lines over the share, which is drawn on the later axes.
        axes.set_zorder(share.get_zorder() + 1)
        axes.patch.set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(lines))
    figure.savefig(path, dpi=120)
