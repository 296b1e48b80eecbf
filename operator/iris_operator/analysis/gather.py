"""From the counts of one release to the arrays of a look, with a word about counts that cannot be."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from iris_operator.analysis.check import Shape
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.evidence.logspace import Floats
from iris_operator.analysis.look import Look, Side

OTHERS = "others"
# More classes or bounds than these are added to the rest: what is kept in the status must stay small.
_MOST_CLASSES = 20
_MOST_BOUNDS = 24
_MOST_TIERS = 3
# Counts up to here are exact in a float, and so are their products with what they are multiplied by.
_MOST = 1e15


def fix_shape(before: Shape, interval: Interval, *, begun: bool) -> Shape:
    """Bounds, tiers and classes are fixed by the first interval that has them, pairs by the first of the canary.

    For the whole rollout: `begun` says that an interval of the canary was judged already.
    """
    canary, stable = interval.canary, interval.stable
    bounds, classes, tiers = before.bounds, before.classes, before.tiers
    if not bounds and canary and stable:
        shared = sorted(bound for bound in canary.at_most if bound in stable.at_most and 0 < bound < math.inf)
        bounds = tuple(shared[:_MOST_BOUNDS])
        if bounds and canary.cached is not None and stable.cached is not None:
            tiers = tuple(sorted({*canary.cached, *stable.cached})[:_MOST_TIERS])
    if not classes and stable and stable.by_class:
        classes = (*sorted(stable.by_class)[:_MOST_CLASSES], OTHERS)
    return Shape(bounds, classes, tiers, before.paired if begun else interval.paired is not None)


def nonsense(counts: RequestCounts) -> str:
    """Why these counts cannot be; empty when they can."""
    single = (counts.timed, counts.failures or 0, counts.correct or 0, counts.incorrect or 0)
    histograms = [counts.at_most, *(counts.cached or {}).values()]
    families = [
        *(family.values() for family in (counts.by_code, counts.by_class or {})),
        *(buckets.values() for buckets in histograms),
        *(bins.values() for bins in (counts.features or {}).values()),
    ]
    numbers = [*single, *itertools.chain.from_iterable(families)]
    # A value that is no number makes the sum none, wherever it stands.
    if min(numbers) < 0 or max(numbers) > _MOST or math.isnan(sum(numbers)):
        return "a count is negative, too large, or not a number"
    rises = [[buckets[bound] for bound in sorted(buckets)] for buckets in histograms]
    if rises != [sorted(ordered) for ordered in rises]:
        return "the histogram's buckets fall"
    most = [ordered[-1] for ordered in rises if ordered]
    if most and max(most) > counts.timed:
        return "more requests in the histogram's buckets than in all"
    if counts.cached and sum([of.get(math.inf, 0) for of in counts.cached.values()]) > counts.timed:
        return "more requests answered by the cache than in all"
    return ""


def look_of(interval: Interval, shape: Shape, next_share: float, *, step_changed: bool) -> Look:
    """The interval as arrays of one release. A revision without series has no requests."""
    canary, stable = interval.canary or RequestCounts(), interval.stable or RequestCounts()
    pods = [pod for pod in stable.pods if pod.timed or pod.total]
    both, of_pods = _sides([canary, stable], pods if len(pods) > 1 else [], shape)
    return Look(
        canary=_part(both, slice(0, 1)),
        stable=_part(both, slice(1, 2)),
        pods=of_pods,
        canary_pods=np.array([float(max(1, len(canary.pods)))]),
        stable_pods=np.array([float(max(1, len(stable.pods)))]),
        next_share=np.array([next_share]),
        step_changed=np.array([step_changed]),
        pairs=np.array([interval.paired or (0, 0)], dtype=np.float64),
    )


def _sides(both: Sequence[RequestCounts], pods: Sequence[RequestCounts], shape: Shape) -> tuple[Side, Side | None]:
    """The two revisions, a row each, and stable's pods, which run along axis 1; None where nothing is known of them."""
    # All at once: making an array costs as much as a hundred numbers in it.
    together = _side([*both, *pods], shape)
    if not pods or not _lost(together, both, shape):
        return _part(together, slice(0, 2)), _sound(_part(together, (None, slice(2, None)))) if pods else None
    # Seldom: the pods do not tell all that the revisions do.
    return _side(both, shape), _sound(_part(_side(pods, shape), None))


def _lost(together: Side, both: Sequence[RequestCounts], shape: Shape) -> bool:
    """Is something lacking that both revisions tell?"""
    return (
        (together.failures is None and all(row.failures is not None for row in both))
        or (together.wrong is None and all(row.incorrect is not None for row in both))
        or (together.labelled is None and all(row.correct is not None for row in both))
        or (together.classes is None and bool(shape.classes))
        or (together.bins is None and bool(shape.bounds))
    )


def _sound(pods: Side) -> Side | None:
    """Without counts that can be, nothing is known of the noise."""
    numbers = np.concatenate([part.ravel() for part in pods if part is not None])
    # Written so that a value that is no number fails it, too.
    return pods if numbers.min() >= 0 and numbers.max() <= _MOST else None


def _side(rows: Sequence[RequestCounts], shape: Shape) -> Side:
    """Counts of several revisions or pods, one a row. What one of them lacks is lacking."""
    columns: dict[str, list[int | None]] = {
        "requests": [row.total for row in rows],
        "errors": [row.server_errors for row in rows],
        "failures": [row.failures for row in rows],
        "correct": [row.correct for row in rows],
        "incorrect": [row.incorrect for row in rows],
    }
    present = {name: column for name, column in columns.items() if None not in column}
    # One array for all of them, as above.
    counts = dict(zip(present, np.array(list(present.values()), dtype=np.float64), strict=True))
    bins, tiers = _bins(rows, shape)
    return Side(
        requests=counts["requests"],
        errors=counts["errors"],
        failures=_minimum(counts.get("failures"), counts["requests"]),
        bins=bins,
        tiers=tiers,
        classes=_classes(rows, shape.classes),
        labelled=_sum(counts.get("correct"), counts.get("incorrect")),
        wrong=counts.get("incorrect"),
    )


def _part(side: Side, at: Any) -> Side:
    """Some of the rows; with None before them, along axis 1. `at` is an index."""
    requests, errors, *others = side
    return Side(requests[at], errors[at], *[None if value is None else value[at] for value in others])


def _bins(rows: Sequence[RequestCounts], shape: Shape) -> tuple[Floats | None, Floats | None]:
    """Requests between the bounds, the last bin is what lies beyond the last bound: all, and tier by tier."""
    if not shape.bounds:
        return None, None
    try:
        rises = [[0, *map(row.at_most.__getitem__, shape.bounds), row.timed] for row in rows]
        from_cache = _from_cache(rows, shape)
    except KeyError:
        return None, None
    # One array for all of them, as above.
    cumulative = np.array(rises + from_cache, dtype=np.float64)
    bins = np.maximum(cumulative[:, 1:] - cumulative[:, :-1], 0.0)
    everything = bins[: len(rows)]
    if not shape.tiers:
        return everything, None
    tiers = np.zeros((len(rows), len(shape.tiers) + 1, bins.shape[1]))
    if from_cache:
        tiers[:, :-1] = bins[len(rows) :].reshape(len(rows), len(shape.tiers), -1)
    tiers[:, -1] = np.maximum(everything - tiers[:, :-1].sum(axis=1), 0.0) if from_cache else everything
    return everything, tiers


def _from_cache(rows: Sequence[RequestCounts], shape: Shape) -> list[list[float]]:
    """The rising counts of each tier for each row; none at all when the cache answered nothing."""
    answered = [(row.cached or {}).get(tier) or {} for row in rows for tier in shape.tiers]
    if not any(map(_total, answered)):
        return []
    wanted = itemgetter(*shape.bounds, math.inf)
    nothing = [0.0] * (len(shape.bounds) + 2)
    return [[0, *wanted(buckets)] if buckets else nothing for buckets in answered]


def _total(buckets: Mapping[float, int]) -> int:
    return buckets.get(math.inf, 0)


def _classes(rows: Sequence[RequestCounts], names: tuple[str, ...]) -> Floats | None:
    if not names:
        return None
    found: list[list[int]] = []
    for row in rows:
        if row.by_class is None:
            return None
        found.append(_by_name(row.by_class, names))
    return np.array(found, dtype=np.float64)


def _by_name(by_class: Mapping[str, int], names: tuple[str, ...]) -> list[int]:
    known = [by_class.get(name, 0) for name in names[:-1]]
    return [*known, sum(by_class.values()) - sum(known)]


def _minimum(values: Floats | None, limit: Floats) -> Floats | None:
    """A retried inference may fail twice for one request; evidence counts requests."""
    return None if values is None else np.minimum(values, limit)


def _sum(one: Floats | None, other: Floats | None) -> Floats | None:
    return None if one is None or other is None else one + other
