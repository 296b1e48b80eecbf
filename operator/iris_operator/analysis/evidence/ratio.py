"""F1: rare events. How many times as often as stable does the canary fail?"""

from __future__ import annotations

from typing import Any

import numpy as np

from iris_operator.analysis.evidence.logspace import Floats
from iris_operator.analysis.evidence.special import log_beta

# Pods whose noise is weaker than this are taken for noiseless: the beta-binomial coin is a coin then.
_NOISELESS = 1e6


def log_rate_ratio(x_c: Any, n_c: Any, x_s: Any, n_s: Any, omega: Any, rho: Any) -> Floats:
    """log e for `rate_c = omega * rate_s` against `rate_c <= rho * rate_s` (omega > rho), or `>=` (omega < rho).

    x events of n requests of canary and stable in one interval. Given how many events there were, on whose side each
    fell is a coin whose bias does not depend on the shared rate: an incident that hits both says nothing.
    Exact for Poisson counts; E[e] <= 1 for Bernoulli ones, because 1 + x <= exp(x).
    Source: F1; Lindon & Malek, "Anytime-Valid Inference for Multinomial Count Data", NeurIPS 2022.

    0 (an e-value of 1) where either side had no request.
    """
    n_c, n_s = np.asarray(n_c, dtype=np.float64), np.asarray(n_s, dtype=np.float64)
    both = (n_c > 0) & (n_s > 0)
    share = np.where(both, n_c / np.maximum(n_c + n_s, 1.0), 0.5)
    coin = np.log((1 - share + share * rho) / (1 - share + share * omega))
    return np.where(both, x_c * np.log(omega / rho) + (x_c + x_s) * coin, 0.0)


def log_noisy_ratio(x_c: Any, n_c: Any, x_s: Any, n_s: Any, omega: Any, rho: Any, spread: Any) -> Floats:
    """F1 between pods that do not share one rate: the coin's bias itself varies from interval to interval.

    When every pod's rate is multiplied by a gamma variable, the canary's part of the events is beta-binomial, whatever
    the shared rate. `spread` is the sum of the beta's parameters: pods over the squared coefficient of variation of
    their rates; without noise it is infinite and this is `log_rate_ratio`. E[e] = 1 at the edge of the hypothesis.
    """
    plain = log_rate_ratio(x_c, n_c, x_s, n_s, omega, rho)
    noisy = np.less(spread, _NOISELESS)
    if not noisy.any():
        return plain
    x_c, n_c, x_s, n_s, spread = (np.asarray(value, dtype=np.float64) for value in (x_c, n_c, x_s, n_s, spread))
    noisy = noisy & (n_c > 0) & (n_s > 0)
    total = np.where(noisy, spread, 1.0)
    share = np.where(noisy, n_c / np.maximum(n_c + n_s, 1.0), 0.5)
    log_e = np.zeros(plain.shape)
    for ratio, sign in ((omega, 1.0), (rho, -1.0)):
        part = share * ratio / (1 - share + share * ratio)
        mine, theirs = total * part, total * (1 - part)
        log_e = log_e + sign * (log_beta(mine + x_c, theirs + x_s) - log_beta(mine, theirs))
    return np.where(noisy, log_e, plain)
