"""Counts of a revision for tests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from iris_operator.analysis.counts import Bin, RequestCounts

# Bins of a feature in the training data: a quarter of the values in each from 1 to 5, none outside.
QUARTERS = (Bin(1.0, 0.0), Bin(2.0, 0.25), Bin(3.0, 0.25), Bin(4.0, 0.25), Bin(5.0, 0.25), Bin(math.inf, 0.0))
BOUNDS = (0.005, 0.025, 0.1, 0.5)
MIX = (40, 30, 30)


def revision(
    requests: int, errors: int = 0, slow: int | None = None, classes: Mapping[str, int] | None = None, pods: int = 0
) -> RequestCounts:
    """`slow` requests take over 100 ms, by default one in a hundred; a third of the rest over 25 ms."""
    slow = requests // 100 if slow is None else slow
    rest = requests - slow
    even = {name: requests * share // 100 for name, share in zip("abc", MIX, strict=True)}
    counts = RequestCounts(
        by_code={"200": requests - errors, "500": errors},
        at_most={0.005: 0, 0.025: rest - rest // 3, 0.1: rest, 0.5: requests},
        timed=requests,
        failures=errors,
        by_class=even if classes is None else classes,
    )
    if not pods:
        return counts
    return replace(counts, pods=tuple(revision(requests // pods, errors // pods) for _ in range(pods)))


def spread(even: int, beyond: int = 0, bins: tuple[Bin, ...] = QUARTERS) -> Mapping[Bin, int]:
    """Values of a feature: `even` distributed as in the training data, `beyond` above all of them."""
    counts = [round(even * part.training_share) for part in bins]
    return dict(zip(bins, [*counts[:-1], counts[-1] + beyond], strict=True))
