"""Many instances as one matrix, built once, so that later steps need no Python loop over them."""

from collections.abc import Sequence
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

# One row per instance.
Matrix = NDArray[np.float64]

# From this many instances per request, numpy's fixed cost is lower than that of a Python loop.
VECTORIZE_FROM: Final = 32


def to_matrix(rows: Sequence[Sequence[float]]) -> Matrix:
    """A matrix of rows that all have the same width."""
    width = len(rows[0])
    return np.fromiter(chain.from_iterable(rows), np.float64, width * len(rows)).reshape(-1, width)
