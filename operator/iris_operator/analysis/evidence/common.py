"""Likelihood ratios of two shares: the alternative over the hypothesis, for canary and stable together."""

from __future__ import annotations

from typing import Any

import numpy as np

from iris_operator.analysis.evidence.logspace import Floats


def share_of_canary(n_c: Any, n_s: Any) -> Floats:
    """The canary's share of the requests; one half without any."""
    return np.where(n_c + n_s > 0, n_c / np.maximum(n_c + n_s, 1.0), 0.5)


def log_joint_likelihood_ratio(
    x_c: Any, n_c: Any, x_s: Any, n_s: Any, theta: tuple[Any, Any], null: tuple[Any, Any]
) -> Floats:
    """log of the likelihood of both revisions under `theta` over that under `null`, each (canary, stable).

    An e-value whenever `null` is the point of a convex hypothesis that is nearest to `theta` (in relative entropy
    weighted with the requests); all rates lie strictly between 0 and 1. Turner & Grünwald, "Exact anytime-valid
    confidence intervals for contingency tables", 2022. 0 where either revision had no request.
    """
    both = (np.asarray(n_c) > 0) & (np.asarray(n_s) > 0)
    return np.where(
        both,
        _log_likelihood_ratio(x_c, n_c, theta[0], null[0]) + _log_likelihood_ratio(x_s, n_s, theta[1], null[1]),
        0.0,
    )


def _log_likelihood_ratio(x: Any, n: Any, theta: Any, null: Any) -> Floats:
    return np.asarray(x * np.log(theta / null) + (n - x) * np.log((1.0 - theta) / (1.0 - null)))
