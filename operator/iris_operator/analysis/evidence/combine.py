"""F6: the combined e-value of all metrics."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

from iris_operator.analysis.evidence.logspace import Floats


def log_combined(logs: Mapping[str, Floats], log_weights: Mapping[str, float]) -> Floats:
    """log of the sum over metrics of w_m * E_m, with weights that sum to 1, given as logarithms.

    An average of e-values is an e-value whatever the dependence between the metrics: a failed request that is also slow
    is counted in both, and alpha holds over the whole rollout. Source: F6; Vovk & Wang, Annals of Statistics 2021.
    """
    return functools.reduce(np.logaddexp, (log + log_weights[name] for name, log in logs.items()))
