"""Overdispersion: by how much the variance between stable's own pods exceeds that of independent requests (Pearson).

Requests of one pod share its fate (a slow node, a cold cache, a noisy neighbour), so a hundred of them are less
evidence than a hundred independent ones. All evidence is divided by phi, at least 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from iris_operator.analysis.evidence.logspace import Bools, Floats

# A prior of "no overdispersion" with so many degrees of freedom, so that the first few counts do not decide.
_PRIOR_FREEDOM = 5.0
# Standard deviations by which the sum of squares must exceed its expectation before pods are taken to differ.
_MIN_DEVIATIONS = 2.0
# Least concentration: pods that differ so much that each has all of the events or none.
_MIN_CONCENTRATION = 0.05


class Dispersion(NamedTuple):
    """Pearson's sum of squares between pods, its degrees of freedom, and these times the events less one, so far."""

    squares: Floats
    freedom: Floats
    exposure: Floats

    @staticmethod
    def new(*shape: int) -> Dispersion:
        """Before the first interval."""
        return Dispersion(np.zeros(shape), np.zeros(shape), np.zeros(shape))


def add_pods(before: Dispersion, events: Floats, requests: Floats, counted: Bools) -> Dispersion:
    """One more interval of stable's pods; the pods run along axis 1, further axes are kinds of event.

    Given the sum over the pods, chance alone makes the sum of (x - m)^2 / (m (1 - p)) as large as the degrees of
    freedom. Intervals without events, or with events only, carry no information on the dispersion.
    """
    if events.ndim > requests.ndim:
        requests, counted = requests[..., None], counted[:, None]
    share = events.sum(axis=1) / np.maximum(requests.sum(axis=1), 1.0)
    expected = requests * share[:, None]
    variance = expected * (1.0 - share[:, None])
    informative = variance > 0
    squares = ((events - expected) ** 2 / np.where(informative, variance, np.inf)).sum(axis=1)
    freedom = np.maximum(informative.sum(axis=1) - 1.0, 0.0) * counted
    exposure = freedom * np.maximum(variance.sum(axis=1) - 1.0, 0.0)
    return Dispersion(
        (before.squares + squares * (freedom > 0)).round(3),
        before.freedom + freedom,
        (before.exposure + exposure).round(3),
    )


def dispersion_factor(dispersion: Dispersion, load_ratio: Floats) -> Floats:
    """phi >= 1, by which log evidence is divided.

    `load_ratio` is the canary's requests per pod over stable's: a pod's overdispersion grows with its load, so a canary
    pod with a higher load than stable's, on which it was measured, has more of it.
    """
    phi = (dispersion.squares + _PRIOR_FREEDOM) / (dispersion.freedom + _PRIOR_FREEDOM)
    wide = load_ratio.reshape(load_ratio.shape + (1,) * (phi.ndim - load_ratio.ndim))
    return np.asarray(1.0 + np.maximum(phi - 1.0, 0.0) * np.maximum(wide, 1.0))


def squared_variation(dispersion: Dispersion, pods: Floats) -> Floats:
    """The squared coefficient of variation of the rate between pods; `pods` is the number of stable's.

    If every pod's rate is multiplied by a gamma variable, N events fall on the pods like a Dirichlet-multinomial, and
    the sum of squares is (N + a) / (1 + a) times its degrees of freedom, a = pods / variation. Zero until the excess
    is significant: a noisy estimate would hide regressions of every service with few errors.
    """
    excess = dispersion.squares - dispersion.freedom
    significant = excess > _MIN_DEVIATIONS * np.sqrt(2.0 * dispersion.freedom)
    if not significant.any():  # usual: pods of few services differ, and the rest takes time
        return np.zeros(excess.shape)
    concentration = dispersion.exposure / np.where(significant, excess, 1.0) - 1.0
    return np.asarray(np.where(significant, pods / np.maximum(concentration, _MIN_CONCENTRATION), 0.0))


def beta_concentration(variation: Floats, n_c: Floats, n_s: Floats, pods_c: Floats, pods_s: Floats) -> Floats:
    """Sum of the parameters of the beta distribution of the canary's share of the events; infinite without dispersion.

    The log odds of that share vary by `variation` * (1/pods_c + 1/pods_s), those of a beta with mean q by
    1/(concentration * q * (1-q)).
    """
    if not variation.any():  # usual, as above
        return np.full(n_c.shape, np.inf)
    share = n_c / np.maximum(n_c + n_s, 1.0)
    noise = variation * (1.0 / np.maximum(pods_c, 1.0) + 1.0 / np.maximum(pods_s, 1.0)) * share * (1.0 - share)
    return np.asarray(np.where(noise > 0, 1.0 / np.where(noise > 0, noise, 1.0), np.inf))
