"""How much noisier than chance requests are: the Pearson dispersion between stable's own pods.

Requests of one pod share its fate (a slow node, a cold cache, a noisy neighbour), so a hundred of them are less
evidence than a hundred independent ones. All evidence is divided by phi, at least 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from iris_operator.analysis.evidence.logspace import Bools, Floats

# Degrees of freedom's worth of "no noise" to begin with, so that the first few counts do not decide.
_PRIOR = 5.0
# Standard deviations by which the sum of squares must exceed chance before pods are taken to differ.
_CLEAR = 2.0
# Of the concentration: pods that differ so much that each has all of the events or none.
_LEAST = 0.05


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
    freedom. Intervals without events, or with events only, say nothing about noise.
    """
    if events.ndim > requests.ndim:
        requests, counted = requests[..., None], counted[:, None]
    share = events.sum(axis=1) / np.maximum(requests.sum(axis=1), 1.0)
    expected = requests * share[:, None]
    variance = expected * (1.0 - share[:, None])
    telling = variance > 0
    squares = ((events - expected) ** 2 / np.where(telling, variance, np.inf)).sum(axis=1)
    freedom = np.maximum(telling.sum(axis=1) - 1.0, 0.0) * counted
    exposure = freedom * np.maximum(variance.sum(axis=1) - 1.0, 0.0)
    return Dispersion(
        (before.squares + squares * (freedom > 0)).round(3),
        before.freedom + freedom,
        (before.exposure + exposure).round(3),
    )


def factor(dispersion: Dispersion, load: Floats) -> Floats:
    """phi >= 1, by which log evidence is divided.

    `load` is the canary's requests a pod over stable's: noise of a pod grows with what it carries, so a canary pod that
    carries more than those it was measured on is noisier than they were.
    """
    phi = (dispersion.squares + _PRIOR) / (dispersion.freedom + _PRIOR)
    wide = load.reshape(load.shape + (1,) * (phi.ndim - load.ndim))
    return np.asarray(1.0 + np.maximum(phi - 1.0, 0.0) * np.maximum(wide, 1.0))


def squared_variation(dispersion: Dispersion, pods: Floats) -> Floats:
    """The squared coefficient of variation of the rate between pods, of which stable has so many.

    If every pod's rate is multiplied by a gamma variable, N events fall on the pods like a Dirichlet-multinomial, and
    the sum of squares is (N + a) / (1 + a) times its degrees of freedom, a = pods / variation. Zero until the excess
    is too large for chance: an estimate that is mostly noise itself would make every service with few errors blind.
    """
    excess = dispersion.squares - dispersion.freedom
    clear = excess > _CLEAR * np.sqrt(2.0 * dispersion.freedom)
    if not clear.any():  # mostly: pods of few services differ, and what follows costs something
        return np.zeros(excess.shape)
    concentration = dispersion.exposure / np.where(clear, excess, 1.0) - 1.0
    return np.asarray(np.where(clear, pods / np.maximum(concentration, _LEAST), 0.0))


def spread(variation: Floats, n_c: Floats, n_s: Floats, pods_c: Floats, pods_s: Floats) -> Floats:
    """Sum of the parameters of the beta whose coin decides on whose side an event falls; infinite without noise.

    The log odds of that coin vary by `variation` * (1/pods_c + 1/pods_s), those of a beta with mean q by 1/(spread q
    (1-q)).
    """
    if not variation.any():  # mostly, as above
        return np.full(n_c.shape, np.inf)
    share = n_c / np.maximum(n_c + n_s, 1.0)
    noise = variation * (1.0 / np.maximum(pods_c, 1.0) + 1.0 / np.maximum(pods_s, 1.0)) * share * (1.0 - share)
    return np.asarray(np.where(noise > 0, 1.0 / np.where(noise > 0, noise, 1.0), np.inf))
