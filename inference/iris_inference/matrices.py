"""Many flowers as one matrix, made once: what is done with all of them then costs no loop of Python's."""

from collections.abc import Sequence
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

# A flower, or what is said of one, a row.
Matrix = NDArray[np.float64]

# From so many flowers in a request on a matrix is made: numpy's fixed cost is less than that of a loop.
MANY: Final = 32


def matrix(rows: Sequence[Sequence[float]]) -> Matrix:
    """Numbers in rows of one width."""
    width = len(rows[0])
    return np.fromiter(chain.from_iterable(rows), np.float64, width * len(rows)).reshape(-1, width)
