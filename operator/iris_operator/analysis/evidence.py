"""Anytime-valid evidence (e-values) from counts, in log space.

An e-value is a bet against a hypothesis: under it the expected value is at most 1 at every moment,
so that exceeding 1/alpha ever, however often one looks, has a chance of at most alpha (Ville's inequality).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Effects worth betting on: log-spaced, from a quarter more to a thousand times as many events.
WORSE_GRID: tuple[float, ...] = tuple(1.25 * (1000 / 1.25) ** (i / 12) for i in range(13))
# Rates that a good canary may have, as fractions of the tolerated one.
GOOD_GRID: tuple[float, ...] = (0.0, 0.1, 0.25, 0.5)


@dataclass(frozen=True)
class Arm:
    """Events among requests of one revision."""

    events: int
    total: int

    def __str__(self) -> str:
        return f"{self.events}/{self.total}"

    def plus(self, other: Arm) -> Arm:
        """Both intervals together."""
        return Arm(self.events + other.events, self.total + other.total)

    @property
    def share(self) -> float | None:
        """The fraction of requests that are events; None without requests."""
        return round(self.events / self.total, 6) if self.total else None


def log_mean_exp(logs: Sequence[float]) -> float:
    """log of the mean of exp(logs); -inf for an empty sequence."""
    if not logs:
        return -math.inf
    peak = max(logs)
    if math.isinf(peak):
        return peak
    return peak + math.log(sum(math.exp(value - peak) for value in logs) / len(logs))


def log_rate_ratio(canary: Arm, stable: Arm, omega: float, rho: float) -> float:
    """Log e-value of one interval for `canary rate = omega * stable rate` against `rho * stable rate`.

    With omega > rho it tests H0: p_c <= rho * p_s, with omega < rho it tests H0: p_c >= rho * p_s. Conditional on the
    number of events, which revision had each is a coin whose bias does not depend on the shared rate: an incident
    that hits both says nothing.
    Source: Lindon & Malek, "Anytime-Valid Inference for Multinomial Count Data", NeurIPS 2022.

    Returns 0 (an e-value of 1) when either revision had no request.
    """
    if canary.total == 0 or stable.total == 0:
        return 0.0
    share = canary.total / (canary.total + stable.total)
    events = canary.events + stable.events
    return canary.events * math.log(omega / rho) + events * math.log(
        (1 - share + share * rho) / (1 - share + share * omega)
    )


def log_below(canary: Arm, bound: float, theta: float) -> float:
    """Log e-value for `canary rate = theta` against H0: canary rate >= bound, for 0 <= theta < bound < 1.

    The likelihood ratio of a Bernoulli rate at the edge of the hypothesis, where it is largest.
    """
    if canary.events and theta == 0.0:
        return -math.inf
    hits = canary.events * math.log(theta / bound) if canary.events else 0.0
    return hits + (canary.total - canary.events) * math.log((1 - theta) / (1 - bound))


def capped_exp(log_value: float) -> float:
    """exp for display: an e-value that no float can hold is shown as 1e9, one of 0 as 0."""
    return round(math.exp(min(log_value, math.log(1e9))), 4)
