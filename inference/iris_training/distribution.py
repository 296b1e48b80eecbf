"""Summarizes the distribution of a feature in the training data, as the baseline for live traffic."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_QUARTILES: Final = (0.25, 0.5, 0.75)
# Keeps values that a client rounded differently from the training data inside the outer bounds.
_MARGIN: Final = 0.05


def bin_values(values: NDArray[np.float32]) -> dict[str, list[float] | list[int]]:
    """The `bounds` of at most six bins and the `counts` of `values` in them, one more than there are bounds.

    The inner bins contain about a quarter of the values each; the outer two are outside the range of the training data.
    A value equal to a bound belongs to the bin below it. Inner bounds lie midway between two values, so that no value
    equals a bound, even when a request sends it with more digits than the training data has.
    """
    distinct, times = np.unique(values.astype(np.float64), return_counts=True)
    midpoints = (distinct[:-1] + distinct[1:]) / 2
    below = np.cumsum(times)[:-1] / len(values)
    quartiles = [midpoints[np.argmin(np.abs(below - fraction))] for fraction in _QUARTILES] if len(midpoints) else []
    low, high = distinct[0], distinct[-1]
    margin = _MARGIN * (high - low or abs(high) or 1.0)
    bounds = sorted({float(f"{bound:.6g}") for bound in (low - margin, *quartiles, high + margin)})
    counts = np.bincount(np.searchsorted(bounds, values), minlength=len(bounds) + 1)
    return {"bounds": bounds, "counts": counts.tolist()}
