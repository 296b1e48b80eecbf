"""How many requests it takes to exclude a difference of shares: for checks with an absolute margin (F3)."""

from __future__ import annotations

import math

import numpy as np

from iris_operator.analysis.check import ForecastStep
from iris_operator.analysis.evidence.information_limit import information, kl

# Durations and classes are forecast for the share nearest to one half, which takes the most requests.
_WIDEST_SHARE = 0.4


def information_per_request(n_c: float, n_s: float, share: float, delta: float) -> float:
    """Nats that a canary request brings against a difference of `delta` when there is none."""
    if not n_c or not n_s:
        return 0.0
    safe = float(np.clip(share, 1e-3, 1 - 1e-3))
    if safe + delta >= 1.0:
        return kl(safe, 1 - 1e-9)
    return information(n_c, n_s, safe, safe, delta) / n_c


def requests_to_exclude(step: ForecastStep, margin: float, share: float = _WIDEST_SHARE) -> float:
    """Canary requests until a healthy canary has excluded a difference of `margin` over the next share of the traffic.

    Infinite when no number of requests does.
    """
    delta = min(margin / step.next_share, 1 - 1e-6)
    gain = information_per_request(step.weight, max(1.0 - step.weight, 1e-9), share, delta)
    return step.nats / gain if gain > 0 else math.inf
