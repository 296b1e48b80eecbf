"""Durations of requests that came from the same tiers of the cache in the same shares, of both versions.

Whether a cache knows a request depends on how much traffic a version has had, and not on the version: beside a stable
one that has served for a week every canary would look slow. So of each tier as much is compared as makes a mixture that
both have. What is left out is chosen by where answers came from and never by how long they took: given the tiers, the
durations are as good as before. A bet on a part of the requests of a tier is one at that power of its odds, which is
fair when the whole is (Jensen).
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """The part of each tier's requests that is compared, and the mixture of what is compared; all by tier."""

    canary: Sequence[float]
    stable: Sequence[float]
    mixture: Sequence[float]


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
    requests = (canary.sum(axis=2) * known).tolist(), (stable.sum(axis=2) * known).tolist()
    of_canary, of_stable, mixture = np.array([*map(alike, *requests)]).swapaxes(0, 1)
    expected = _some(shares_of(past), mixture)
    nothing = ~mixture.any(axis=1)
    if nothing.any():
        # Of nothing anything may be expected, as long as it can be.
        expected[nothing] = shares_of(past.sum(axis=1))[nothing]
    return Compared(
        _some(canary, of_canary),
        _some(stable, of_stable),
        None if pods is None or pods.tiers is None else _some(pods.tiers, of_stable[:, None]),
        expected,
    )


def alike(canary: Sequence[float], stable: Sequence[float]) -> Alike:
    """Which part to compare of a release's requests, so many by tier.

    In the mixture of the canary, in that of stable, or in what both have in common, by what leaves most to learn.
    """
    n_c, n_s = sum(canary), sum(stable)
    if not n_c or not n_s:
        return Alike(*[[0.0] * len(canary)] * 3)
    tiers = list(zip(canary, stable, strict=True))
    # How often the mixture of the one can be had of the other's requests.
    times_s = min([s / c for c, s in tiers if c])
    times_c = min([c / s for c, s in tiers if s])
    common = [min(c / n_c, s / n_s) for c, s in tiers]
    ways = (
        (canary, [c * times_s for c in canary]),
        ([s * times_c for s in stable], stable),
        ([n_c * share for share in common], [n_s * share for share in common]),
    )
    of_c, of_s = max(ways, key=_told)
    if not _told((of_c, of_s)):
        return Alike(*[[0.0] * len(canary)] * 3)
    whole = sum(of_c)
    return Alike(_parts(of_c, canary), _parts(of_s, stable), [some / whole for some in of_c])


def _told(compared: tuple[Sequence[float], Sequence[float]]) -> float:
    """How much there is to learn of so many requests of both, as the evidence of two shares grows: n m / (n + m)."""
    n, m = sum(compared[0]), sum(compared[1])
    return n * m / (n + m) if n and m else 0.0


def _parts(some: Sequence[float], of: Sequence[float]) -> list[float]:
    # Rounding must not make more of them than there are.
    return [min(1.0, part / whole) if whole else 0.0 for part, whole in zip(some, of, strict=True)]


def _some(bins: Floats, parts: Floats) -> Floats:
    """The bins of a part of each tier, added up."""
    return np.asarray(np.matmul(parts[..., None, :], bins)[..., 0, :])
