"""F10: does the router apply the weight that it claims?"""

from __future__ import annotations

import math

# Concentration of the alternatives around the claimed weight, like a prior of so many requests.
_CONCENTRATION = 100.0


def log_split(canary: int, stable: int, weight: float) -> float:
    """log E against "each request goes to the canary with probability `weight`", for the requests of one step.

    E_n = Gamma(k)/prod Gamma(k*theta_j) * prod Gamma(k*theta_j + x_j)/Gamma(k + n) / prod theta_j^x_j.
    Source: F10; Lindon & Malek 2022 (sample-ratio mismatch). 0 for a weight of 0 or 1, where no other split exists.
    """
    if not 0.0 < weight < 1.0:
        return 0.0
    log_e = math.lgamma(_CONCENTRATION) - math.lgamma(_CONCENTRATION + canary + stable)
    for observed, share in ((canary, weight), (stable, 1.0 - weight)):
        prior = _CONCENTRATION * share
        log_e += math.lgamma(prior + observed) - math.lgamma(prior) - observed * math.log(share)
    return log_e
