"""log Gamma for arrays: NumPy has none, and the image does not contain SciPy."""

from __future__ import annotations

import numpy as np

from iris_operator.analysis.evidence.logspace import Floats

_SHIFT = 7
_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)


def log_gamma(z: Floats) -> Floats:
    """log Gamma(z) for z > 0, to 1e-12: Stirling's series above 7, the recurrence below. Source: A&S 6.1.41."""
    product = z.copy()
    for step in range(1, _SHIFT):
        product = product * (z + step)
    big = z + _SHIFT
    inverse = 1.0 / big
    square = inverse * inverse
    series = np.zeros_like(big)
    for coefficient in reversed(_SERIES):
        series = series * square + coefficient
    return np.asarray((big - 0.5) * np.log(big) - big + 0.5 * np.log(2 * np.pi) + series * inverse - np.log(product))


def log_beta(p: Floats, q: Floats) -> Floats:
    """log of Euler's beta function."""
    return log_gamma(p) + log_gamma(q) - log_gamma(p + q)
