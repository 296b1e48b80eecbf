"""The information limit, which no test can beat: for forecasts, and for the benchmark."""

from __future__ import annotations

import math


def kl(p: float, q: float) -> float:
    """Relative entropy of two Bernoulli rates, in nats; infinite where q excludes an outcome that p allows."""
    total = 0.0
    for observed, expected in ((p, q), (1.0 - p, 1.0 - q)):
        if observed > 0.0:
            total += math.inf if expected <= 0.0 else observed * math.log(observed / expected)
    return total


def information(n_c: float, n_s: float, p_c: float, p_s: float, delta: float = 0.0) -> float:
    """I = min over p of n_c * kl(p_c, p + delta) + n_s * kl(p_s, p), in nats for so many requests of each revision.

    With `delta` 0 it is the information about "the same rate"; otherwise about "a difference of delta".
    """
    low, high = max(0.0, -delta), min(1.0, 1.0 - delta)
    ratio = (math.sqrt(5.0) - 1.0) / 2.0

    def cost(p: float) -> float:
        return n_c * kl(p_c, p + delta) + n_s * kl(p_s, p)

    a, b = low, high
    for _ in range(60):  # golden section: the cost is convex in p
        left, right = b - ratio * (b - a), a + ratio * (b - a)
        a, b = (a, right) if cost(left) <= cost(right) else (left, b)
    return cost((a + b) / 2.0)


def seconds_to_detect(alpha: float, per_second: float) -> float:
    """Mean seconds that any test with error `alpha` needs: log(1/alpha) / I, in the limit of few missed regressions."""
    return math.inf if per_second <= 0.0 else math.log(1.0 / alpha) / per_second
