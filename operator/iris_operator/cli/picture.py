"""The evidence over time as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

Line = Sequence[tuple[float, float]]
"""Points: seconds, and a value."""

# Below a ten-thousandth of what rolls back there is nothing to see, and above ten times that it has been decided.
_LOWEST, _HIGHEST = 1e-4, 10.0


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
