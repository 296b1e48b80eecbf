"""F9, paired: both versions answered the same request, and a label came later."""

from __future__ import annotations

import math

# Prior of the share of "only stable was right" among the requests on which exactly one was right.
_PRIOR = 0.5
_TINY = 1e-300


def log_paired(only_stable_right: int, only_canary_right: int, prior: float = _PRIOR) -> float:
    """log E that the canary is wrong more often: 2^(b+c) * B(a+b, a+c)/B(a, a) * 2 * P(Beta(a+b, a+c) > 1/2).

    b and c count the requests where only stable, or only the canary, was right. Under "no worse" the probability of the
    former is at most 1/2; the alternative is a Beta(a, a) truncated to the half where stable is better.
    Source: F9; the mixture of McNemar's test, a = `prior` = 1/2 or 1.
    """
    b, c = only_stable_right, only_canary_right
    upper = log_upper_half(prior + b, prior + c)
    return (b + c) * math.log(2) + log_beta(prior + b, prior + c) - log_beta(prior, prior) + math.log(2) + upper


def log_beta(p: float, q: float) -> float:
    """log of Euler's beta function."""
    return math.lgamma(p) + math.lgamma(q) - math.lgamma(p + q)


def log_upper_half(p: float, q: float) -> float:
    """log P(Beta(p, q) > 1/2), exact in both tails."""
    # P(X > 1/2) = I_{1/2}(q, p). The continued fraction converges below the mean, so the smaller tail is the one
    # computed.
    if p <= q:
        return _log_incomplete_half(q, p)
    return math.log1p(-math.exp(min(0.0, _log_incomplete_half(p, q)))) if p > q else -math.log(2)


def _log_incomplete_half(p: float, q: float) -> float:
    """log I_{1/2}(p, q) for p >= q, by Lentz's continued fraction (Abramowitz & Stegun 26.5.8)."""
    if p == q:
        return -math.log(2)
    front = (p + q) * math.log(0.5) - log_beta(p, q) - math.log(p)
    fraction, c, d = 1.0, 1.0, 0.0
    for i in range(10_000):
        m = i // 2
        if i == 0:
            factor = 1.0
        elif i % 2 == 0:
            factor = m * (q - m) * 0.5 / ((p + 2 * m - 1) * (p + 2 * m))
        else:
            factor = -(p + m) * (p + q + m) * 0.5 / ((p + 2 * m) * (p + 2 * m + 1))
        d = 1.0 / _away_from_zero(1.0 + factor * d)
        c = _away_from_zero(1.0 + factor / c)
        fraction *= c * d
        if abs(1.0 - c * d) < 1e-14:  # noqa: PLR2004 - the precision of a float
            break
    return front + math.log(fraction - 1.0)


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
