"""Durations of both versions, weighted so that both have the same shares of answers from each tier of the cache.

Whether a request hits the cache depends on how much traffic a version has had, and not on the version: compared with a
stable one that has served for a week every canary would look slow. So of each tier only a fraction is compared, such
that both versions have the same mixture. The fraction depends on the tiers of the answers and never on their durations:
given the tiers, the e-values stay valid. An e-value of a fraction of a tier's requests is a power of theirs, with an
exponent of at most 1, whose expectation is at most 1, too (Jensen).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from iris_operator.analysis.arrays import IntervalArrays, RevisionArrays
from iris_operator.analysis.evidence.logspace import Floats

_SMOOTH = 0.1


class ComparableCounts(NamedTuple):
    """Requests by bin of their duration, and the shares of the bins to expect from stable's past.

    By release and bin; those of stable's pods by release, pod and bin.
    """

    canary: Floats
    stable: Floats
    pods: Floats | None
    expected: Floats


class MatchedMixture(NamedTuple):
    """The fraction of each tier's requests that is compared, and the mixture of the compared ones; all by tier."""

    canary: Sequence[float]
    stable: Sequence[float]
    mixture: Sequence[float]


def uses_cache(revision: RevisionArrays) -> bool:
    """Did the cache answer any of these requests?"""
    return revision.tiers is not None and bool(revision.tiers[:, :-1].any())


def expected_shares(past: Floats) -> Floats:
    """The shares of the bins to expect from earlier requests; the bins run along the last axis."""
    smooth = past + _SMOOTH
    return np.asarray(smooth / smooth.sum(axis=-1, keepdims=True))


def comparable_counts(arrays: IntervalArrays, past: Floats) -> ComparableCounts | None:
    """The counts to compare; None when a version does not report the tiers of its answers.

    `past` has stable's earlier requests by release, tier and bin. A tier without any is not compared yet.
    """
    canary, stable, pods = arrays.canary.tiers, arrays.stable.tiers, arrays.pods
    if canary is None or stable is None or (pods is not None and pods.tiers is None):
        return None
    known = past.sum(axis=2) > 0
    requests = (canary.sum(axis=2) * known).tolist(), (stable.sum(axis=2) * known).tolist()
    of_canary, of_stable, mixture = np.array([*map(match_mixtures, *requests)]).swapaxes(0, 1)
    expected = _weighted_sum(expected_shares(past), mixture)
    empty = ~mixture.any(axis=1)
    if empty.any():
        # Without requests to compare any valid shares do.
        expected[empty] = expected_shares(past.sum(axis=1))[empty]
    return ComparableCounts(
        _weighted_sum(canary, of_canary),
        _weighted_sum(stable, of_stable),
        None if pods is None or pods.tiers is None else _weighted_sum(pods.tiers, of_stable[:, None]),
        expected,
    )


def match_mixtures(canary: Sequence[float], stable: Sequence[float]) -> MatchedMixture:
    """The fractions of a release's requests to compare; `canary` and `stable` are their numbers by tier.

    The common mixture is the canary's, stable's, or the intersection of both, whichever has the largest effective size.
    """
    n_c, n_s = sum(canary), sum(stable)
    if not n_c or not n_s:
        return MatchedMixture(*[[0.0] * len(canary)] * 3)
    tiers = list(zip(canary, stable, strict=True))
    # How many times the other revision's requests contain the mixture of this one.
    times_s = min([s / c for c, s in tiers if c])
    times_c = min([c / s for c, s in tiers if s])
    common = [min(c / n_c, s / n_s) for c, s in tiers]
    candidates = (
        (canary, [c * times_s for c in canary]),
        ([s * times_c for s in stable], stable),
        ([n_c * share for share in common], [n_s * share for share in common]),
    )
    of_c, of_s = max(candidates, key=_effective_size)
    if not _effective_size((of_c, of_s)):
        return MatchedMixture(*[[0.0] * len(canary)] * 3)
    total = sum(of_c)
    return MatchedMixture(_fractions(of_c, canary), _fractions(of_s, stable), [some / total for some in of_c])


def _effective_size(compared: tuple[Sequence[float], Sequence[float]]) -> float:
    """n m / (n + m), to which the evidence of a difference of two shares is proportional."""
    n, m = sum(compared[0]), sum(compared[1])
    return n * m / (n + m) if n and m else 0.0


def _fractions(some: Sequence[float], of: Sequence[float]) -> list[float]:
    # At most 1 in spite of rounding.
    return [min(1.0, part / total) if total else 0.0 for part, total in zip(some, of, strict=True)]


def _weighted_sum(bins: Floats, parts: Floats) -> Floats:
    """The bins of all tiers, weighted with the fraction of each tier, added up."""
    return np.asarray(np.matmul(parts[..., None, :], bins)[..., 0, :])
