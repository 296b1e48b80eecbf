"""How a feature of the training data is distributed, in few numbers: what live traffic is held against later."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_QUARTERS: Final = (0.25, 0.5, 0.75)
# What is rounded differently on its way than in the training must not lie outside of it.
_MARGIN: Final = 0.05


def describe(values: NDArray[np.float32]) -> dict[str, list[float] | list[int]]:
    """The `bounds` of at most six bins and the `counts` of `values` in them, one more than there are bounds.

    The inner bins hold about a quarter each, the outer two what lies beyond all of the training data. A value that is
    a bound belongs below it; bounds between quarters lie midway between two values, so that no value is one, also
    when a request carries it with more digits than the training data.
    """
    distinct, times = np.unique(values.astype(np.float64), return_counts=True)
    midway = (distinct[:-1] + distinct[1:]) / 2
    below = np.cumsum(times)[:-1] / len(values)
    quarters = [midway[np.argmin(np.abs(below - share))] for share in _QUARTERS] if len(midway) else []
    low, high = distinct[0], distinct[-1]
    margin = _MARGIN * (high - low or abs(high) or 1.0)
    bounds = sorted({float(f"{bound:.6g}") for bound in (low - margin, *quarters, high + margin)})
    counts = np.bincount(np.searchsorted(bounds, values), minlength=len(bounds) + 1)
    return {"bounds": bounds, "counts": counts.tolist()}
