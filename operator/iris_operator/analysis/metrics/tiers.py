"""Durations of requests that came from the same tiers of the cache in the same shares, of both versions.

Whether a cache knows a request depends on how much traffic a version has had, and not on the version: beside a stable
one that has served for a week every canary would look slow. So of each tier as much is compared as makes a mixture that
both have. What is left out is chosen by where answers came from and never by how long they took: given the tiers, the
durations are as good as before. A bet on a part of the requests of a tier is one at that power of its odds, which is
fair when the whole is (Jensen).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from iris_operator.analysis.evidence.logspace import Floats
from iris_operator.analysis.look import Look, Side

_SMOOTH = 0.5


class Compared(NamedTuple):
    """Requests by bin of their duration, and the shares of the bins that stable's past leads to expect.

    By release and bin; those of stable's pods have an axis for these in between.
    """

    canary: Floats
    stable: Floats
    pods: Floats | None
    expected: Floats


class Alike(NamedTuple):
    """The part of each tier's requests that is compared, by release and tier, and the mixture of what is compared."""

    canary: Floats
    stable: Floats
    mixture: Floats


def uses_cache(side: Side) -> bool:
    """Did the cache answer any of these requests?"""
    return side.tiers is not None and bool(side.tiers[:, :-1].any())


def shares_of(past: Floats) -> Floats:
    """The shares of the bins, which run along the last axis, that so many earlier requests lead to expect."""
    smooth = past + _SMOOTH
    return np.asarray(smooth / smooth.sum(axis=-1, keepdims=True))


def compared(look: Look, past: Floats) -> Compared | None:
    """What to compare; None when it is not known of a version where its answers came from.

    `past` has stable's earlier requests by release, tier and bin. A tier of which there are none teaches first.
    """
    canary, stable, pods = look.canary.tiers, look.stable.tiers, look.pods
    if canary is None or stable is None or (pods is not None and pods.tiers is None):
        return None
    known = past.sum(axis=2) > 0
    parts = alike(canary.sum(axis=2) * known, stable.sum(axis=2) * known)
    expected = _some(shares_of(past), parts.mixture)
    return Compared(
        _some(canary, parts.canary),
        _some(stable, parts.stable),
        None if pods is None or pods.tiers is None else _some(pods.tiers, parts.stable[:, None]),
        # Of nothing anything may be expected, as long as it can be.
        np.where(parts.mixture.any(axis=1, keepdims=True), expected, shares_of(past.sum(axis=1))),
    )


def alike(canary: Floats, stable: Floats) -> Alike:
    """Which part to compare of so many requests by release and tier.

    In the mixture of the canary, in that of stable, or in what both have in common, by what leaves most to learn:
    n m / (n + m) of n requests of the one and m of the other.
    """
    both = np.array([canary, stable])
    requests = both.sum(axis=2, keepdims=True)
    # By way of choosing, version, release and tier.
    ways = np.empty((3, *both.shape))
    ways[0, 0], ways[0, 1] = canary, canary * _times(stable, canary)
    ways[1, 0], ways[1, 1] = stable * _times(canary, stable), stable
    ways[2] = requests * _over(both, requests).min(axis=0)
    left = ways.sum(axis=3)
    told = _over(left[:, 0] * left[:, 1], left.sum(axis=1))
    best = told.argmax(axis=0)
    chosen = np.moveaxis(ways[best, :, np.arange(len(best))], 0, 1) * (told.max(axis=0) > 0)[:, None]
    # Rounding must not make more of them than there are.
    parts = np.minimum(_over(chosen, both), 1.0)
    return Alike(parts[0], parts[1], _over(chosen[0], chosen[0].sum(axis=1, keepdims=True)))


def _some(bins: Floats, parts: Floats) -> Floats:
    """The bins of a part of each tier, added up."""
    return np.asarray((bins * parts[..., None]).sum(axis=-2))


def _times(of: Floats, mixture: Floats) -> Floats:
    """How often the whole mixture can be had of these, by release; 0 when there is none to have."""
    there = mixture > 0
    times = np.where(there, of / np.where(there, mixture, 1.0), np.inf).min(axis=1, keepdims=True)
    return np.where(there.any(axis=1, keepdims=True), times, 0.0)


def _over(part: Floats, whole: Floats) -> Floats:
    """Of nothing: nothing."""
    return np.asarray(part / np.where(whole > 0, whole, np.inf))
