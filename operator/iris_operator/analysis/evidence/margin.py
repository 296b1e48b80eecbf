"""F3: an absolute margin. Does the canary's share exceed stable's by more than the margin, or by less?"""

from __future__ import annotations

from typing import Any

import numpy as np

from iris_operator.analysis.evidence.common import log_joint_likelihood_ratio, share_of_canary
from iris_operator.analysis.evidence.logspace import Floats

# Least distance of the nearest point from 0 and 1: with a likelihood of 0 there the e-value would be infinite.
_EDGE = 1e-12


def log_difference_below(x_c: Any, n_c: Any, x_s: Any, n_s: Any, theta: tuple[Any, Any], delta: Any) -> Floats:
    """log e for shares whose difference lies below `delta`, against difference >= delta. Source: F3, the other side."""
    return log_share_difference(x_c, n_c, x_s, n_s, theta, delta, -1.0)


def log_share_difference(
    x_c: Any, n_c: Any, x_s: Any, n_s: Any, theta: tuple[Any, Any], delta: Any, direction: Any
) -> Floats:
    """log e for the shares `theta` (canary, stable), whose difference lies beyond `delta`.

    Where `direction` is 1 it is above, against difference <= delta; where it is -1 below, against difference >= delta.

    Source: F3; Turner & Grünwald, arXiv 2203.09785: the likelihood over that of the nearest point of the hypothesis.
    0 where `theta` itself lies in the hypothesis.
    """
    nearest = nearest_with_difference(n_c, n_s, theta, delta)
    alternative = direction * (theta[0] - theta[1] - delta) > 0
    return np.where(alternative, log_joint_likelihood_ratio(x_c, n_c, x_s, n_s, theta, nearest), 0.0)


def nearest_with_difference(n_c: Any, n_s: Any, theta: tuple[Any, Any], delta: Any) -> tuple[Floats, Floats]:
    """argmin of n_c * kl(theta_c, a + delta) + n_s * kl(theta_s, a), as the pair (a + delta, a).

    It is the maximum likelihood under a fixed difference: a root of a cubic in closed form.
    Source: Miettinen & Nurminen, "Comparative analysis of two rates", Statistics in Medicine 1985, appendix.
    """
    theta_c, theta_s = theta
    canary = share_of_canary(n_c, n_s)  # shares, so that no request count can overflow a cube
    stable = 1.0 - canary
    hits_s = stable * theta_s
    hits = canary * theta_c + hits_s
    l2 = (canary + 2 * stable) * delta - 1.0 - hits
    l1 = (stable * delta - 1.0 - 2 * hits_s) * delta + hits
    l0 = hits_s * delta * (1 - delta)
    third = l2 / 3.0
    q = third**3 - l1 * l2 / 6.0 + l0 / 2.0
    p = np.copysign(np.sqrt(np.maximum(third**2 - l1 / 3.0, 0.0)), q)
    cosine = np.minimum(np.maximum(q / np.where(p == 0, 1.0, p**3), -1.0), 1.0)
    root = 2 * p * np.cos((np.pi + np.arccos(cosine)) / 3.0) - third
    low, high = np.maximum(0.0, -delta), np.minimum(1.0, 1.0 - delta)
    base = np.minimum(np.maximum(root, low + _EDGE), high - _EDGE)
    return base + delta, base
