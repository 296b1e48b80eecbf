"""F2: common events, such as requests slower than a histogram's bound. Is the canary's share above stable's?"""

from __future__ import annotations

from typing import Any

import numpy as np

from iris_operator.analysis.evidence.logspace import Floats


def log_odds_ratio(x_c: Any, n_c: Any, x_s: Any, n_s: Any, theta_s: Any, omega: Any) -> Floats:
    """log e for odds of the canary `omega` times those of stable, against `theta_c <= theta_s`, for omega > 1.

    `theta_s` is what stable's past leads to expect. Both sides' likelihood over that of the shared share in the middle.
    Source: F2; Turner, Ly & Grünwald, "Generic E-variables for exact sequential k-sample tests", JSPI 2024.

    0 where either side had no request.
    """
    theta_c = omega * theta_s / (1 - theta_s + omega * theta_s)
    return log_pair(x_c, n_c, x_s, n_s, (theta_c, theta_s), shared(n_c, n_s, theta_c, theta_s))


def shared(n_c: Any, n_s: Any, theta_c: Any, theta_s: Any) -> tuple[Floats, Floats]:
    """The share that both sides have under `no difference` and that explains the alternative best."""
    mine = share_of_canary(n_c, n_s)
    middle = mine * theta_c + (1.0 - mine) * theta_s
    return middle, middle


def share_of_canary(n_c: Any, n_s: Any) -> Floats:
    """The canary's part of the requests; a half without any."""
    return np.where(n_c + n_s > 0, n_c / np.maximum(n_c + n_s, 1.0), 0.5)


def log_pair(x_c: Any, n_c: Any, x_s: Any, n_s: Any, theta: tuple[Any, Any], null: tuple[Any, Any]) -> Floats:
    """log of the likelihood of both sides under `theta` over that under `null`, each (canary, stable).

    An e-value whenever `null` is the point of a convex hypothesis that is nearest to `theta` (in relative entropy
    weighted with the requests); all rates lie strictly between 0 and 1. Turner & Grünwald, "Exact anytime-valid
    confidence intervals for contingency tables", 2022. 0 where either side had no request.
    """
    both = (np.asarray(n_c) > 0) & (np.asarray(n_s) > 0)
    return np.where(both, _side(x_c, n_c, theta[0], null[0]) + _side(x_s, n_s, theta[1], null[1]), 0.0)


def log_tilted(bins_c: Floats, bins_s: Floats, shares_s: Floats, score: Floats, tilt: Floats) -> Floats:
    """log e for a whole distribution that moved towards higher scores, against `not above stable's`; a column a tilt.

    `bins` count the requests in each of the histogram's bins, `shares_s` is what stable's past leads to expect of them.
    The alternative is theta_c proportional to theta_s * exp(tilt * score): its likelihood ratio rises with the score,
    so that the bet is fair against every canary that is stochastically no slower.
    Source: F2 for more than two outcomes; Turner, Ly & Grünwald 2024, theorem 1.
    """
    n_c, n_s = bins_c.sum(axis=-1)[..., None], bins_s.sum(axis=-1)[..., None]
    weight = np.exp(score[..., :, None] * tilt)
    theta_s = shares_s[..., :, None]
    theta_c = theta_s * weight
    theta_c = theta_c / theta_c.sum(axis=-2, keepdims=True)
    mine = share_of_canary(n_c, n_s)[..., None]
    middle = mine * theta_c + (1.0 - mine) * theta_s
    log_e = (bins_c[..., :, None] * np.log(theta_c / middle) + bins_s[..., :, None] * np.log(theta_s / middle)).sum(
        axis=-2
    )
    return np.where((n_c > 0) & (n_s > 0), log_e, 0.0)


def _side(x: Any, n: Any, theta: Any, null: Any) -> Floats:
    return np.asarray(x * np.log(theta / null) + (n - x) * np.log((1.0 - theta) / (1.0 - null)))
