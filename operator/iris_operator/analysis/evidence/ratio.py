"""F1: rare events. By which factor does the canary's rate exceed stable's?"""

from __future__ import annotations

from typing import Any

import numpy as np

from iris_operator.analysis.evidence.log_gamma import log_beta
from iris_operator.analysis.evidence.logspace import Floats

# From this concentration on the beta-binomial distribution is taken as binomial.
_MAX_CONCENTRATION = 1e6


def log_rate_ratio(x_c: Any, n_c: Any, x_s: Any, n_s: Any, omega: Any, rho: Any) -> Floats:
    """log e for `rate_c = omega * rate_s` against `rate_c <= rho * rate_s` (omega > rho), or `>=` (omega < rho).

    x events of n requests of canary and stable in one interval. Given the number of events, the canary's part is
    binomial, with a probability that does not depend on the shared rate: an incident that hits both is no evidence.
    Exact for Poisson counts; E[e] <= 1 for Bernoulli ones, because 1 + x <= exp(x).
    Source: F1; Lindon & Malek, "Anytime-Valid Inference for Multinomial Count Data", NeurIPS 2022.

    0 (an e-value of 1) where either revision had no request.
    """
    n_c, n_s = np.asarray(n_c, dtype=np.float64), np.asarray(n_s, dtype=np.float64)
    both = (n_c > 0) & (n_s > 0)
    share = np.where(both, n_c / np.maximum(n_c + n_s, 1.0), 0.5)
    log_factor = np.log((1 - share + share * rho) / (1 - share + share * omega))
    return np.where(both, x_c * np.log(omega / rho) + (x_c + x_s) * log_factor, 0.0)


def log_overdispersed_ratio(x_c: Any, n_c: Any, x_s: Any, n_s: Any, omega: Any, rho: Any, concentration: Any) -> Floats:
    """F1 between pods whose rates differ: the canary's part of the events is overdispersed.

    When every pod's rate is multiplied by a gamma variable, the canary's part of the events is beta-binomial, whatever
    the shared rate. `concentration` is the sum of the beta's parameters: pods over the squared coefficient of variation
    of their rates; without dispersion it is infinite and this is `log_rate_ratio`. E[e] = 1 at the boundary of the
    hypothesis.
    """
    plain = log_rate_ratio(x_c, n_c, x_s, n_s, omega, rho)
    overdispersed = np.less(concentration, _MAX_CONCENTRATION)
    if not overdispersed.any():
        return plain
    x_c, n_c, x_s, n_s, concentration = (
        np.asarray(value, dtype=np.float64) for value in (x_c, n_c, x_s, n_s, concentration)
    )
    overdispersed = overdispersed & (n_c > 0) & (n_s > 0)
    total = np.where(overdispersed, concentration, 1.0)
    share = np.where(overdispersed, n_c / np.maximum(n_c + n_s, 1.0), 0.5)
    log_e = np.zeros(plain.shape)
    for ratio, sign in ((omega, 1.0), (rho, -1.0)):
        part = share * ratio / (1 - share + share * ratio)
        alpha, beta = total * part, total * (1 - part)
        log_e = log_e + sign * (log_beta(alpha + x_c, beta + x_s) - log_beta(alpha, beta))
    return np.where(overdispersed, log_e, plain)
