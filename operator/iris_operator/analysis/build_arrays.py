"""From the counts of one release to the arrays of an interval; and which counts are inconsistent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from iris_operator.analysis.arrays import IntervalArrays, RevisionArrays
from iris_operator.analysis.build_means import mean_durations
from iris_operator.analysis.check import Shape
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.evidence.logspace import Floats

OTHERS = "others"
# Further classes, bounds and tiers are added to the rest: the checkpoint in the status must stay small.
_MAX_CLASSES = 20
# Bytes of their names together.
_MAX_CLASS_NAMES = 800
_MAX_BOUNDS = 24
_MAX_TIERS = 3
# Counts up to this one, and their products with the numbers that multiply them, are exact in a float.
_MAX_COUNT = 1e15


def fix_shape(before: Shape, interval: Interval, *, started: bool) -> Shape:
    """Fix what is measured by the first interval of the canary that has it; until then by stable's baseline.

    It stays the same for the whole rollout: bounds are those that both have, so that a version with other bounds is
    still compared at the others. `started`: was an interval of the canary judged already?
    """
    canary, stable = interval.canary, interval.stable
    bounds, classes, tiers = before.bounds, before.classes, before.tiers
    control = interval.control is not None
    sums = before.sums
    if canary and stable and (not bounds or not started or control != before.control):
        shared = sorted(bound for bound in canary.at_most if bound in stable.at_most and 0 < bound < math.inf)
        bounds = tuple(shared[:_MAX_BOUNDS])
        cached = canary.cached is not None and stable.cached is not None and not control
        # Both arms of a comparison with a control group have caches of the same age.
        tiers = tuple(sorted({*(canary.cached or {}), *(stable.cached or {})})[:_MAX_TIERS]) if cached else ()
        sums = canary.seconds is not None and stable.seconds is not None
    if not classes and stable and stable.by_class:
        classes = (*_first_classes(stable.by_class), OTHERS)
    paired = before.paired if started else interval.paired is not None
    return Shape(bounds, classes, tiers, paired, control, sums)


def _first_classes(by_class: Iterable[str]) -> list[str]:
    """The first classes in alphabetical order that fit into the checkpoint."""
    names = sorted(by_class)[:_MAX_CLASSES]
    sizes = itertools.accumulate(len(name.encode()) for name in names)
    return [name for name, size in zip(names, sizes, strict=True) if size <= _MAX_CLASS_NAMES]


def inconsistency(counts: RequestCounts) -> str:
    """Why these counts are impossible; empty when they are not."""
    single = (counts.timed, counts.seconds or 0, counts.failures or 0, counts.correct or 0, counts.incorrect or 0)
    histograms = [counts.at_most, *(counts.cached or {}).values()]
    families = [
        *(family.values() for family in (counts.by_code, counts.by_class or {})),
        *(buckets.values() for buckets in histograms),
        *(bins.values() for bins in (counts.features or {}).values()),
    ]
    numbers = [*single, *itertools.chain.from_iterable(families)]
    # The sum is NaN if any value is, wherever it stands.
    if min(numbers) < 0 or max(numbers) > _MAX_COUNT or math.isnan(sum(numbers)):
        return "a count is negative, too large, or not a number"
    cumulative = [[buckets[bound] for bound in sorted(buckets)] for buckets in histograms]
    if cumulative != [sorted(ordered) for ordered in cumulative]:
        return "the histogram's cumulative buckets decrease"
    most = [ordered[-1] for ordered in cumulative if ordered]
    if most and max(most) > counts.timed:
        return "more requests in the histogram's buckets than in all"
    if counts.cached and sum([of.get(math.inf, 0) for of in counts.cached.values()]) > counts.timed:
        return "more requests answered by the cache than in all"
    return ""


def build_arrays(
    interval: Interval,
    shape: Shape,
    next_share: float,
    *,
    step_changed: bool,
    accept_shift: bool = False,
    error_limit: float = 0.0,
) -> IntervalArrays:
    """The interval as arrays of one release. A revision without series has no requests."""
    canary, stable = interval.canary or RequestCounts(), interval.stable or RequestCounts()
    control = (interval.control or RequestCounts()) if shape.control else None
    pods = [pod for pod in stable.pods if pod.timed or pod.total]
    revisions = [canary, stable] if control is None else [canary, stable, control]
    together, of_pods = _revisions_and_pods(revisions, pods if len(pods) > 1 else [], shape)
    return IntervalArrays(
        canary=_select_rows(together, slice(0, 1)),
        stable=_select_rows(together, slice(1, 2)),
        control=None if control is None else _select_rows(together, slice(2, 3)),
        control_pods=None if control is None else _pods_of(control, least=0),
        pods=of_pods,
        canary_pods=_pods_of(canary),
        stable_pods=_pods_of(stable),
        next_share=np.array([next_share]),
        step_changed=np.array([step_changed]),
        accept_shift=np.array([accept_shift]),
        error_limit=np.array([error_limit]),
        means=mean_durations(canary, stable, control) if shape.sums else None,
        pairs=np.array([interval.paired or (0, 0)], dtype=np.float64),
    )


def _pods_of(counts: RequestCounts, least: int = 1) -> Floats:
    """The number of pods; one where requests were counted without saying by which."""
    return np.array([float(max(1 if counts.total else least, len(counts.pods)))])


def _revisions_and_pods(
    both: Sequence[RequestCounts], pods: Sequence[RequestCounts], shape: Shape
) -> tuple[RevisionArrays, RevisionArrays | None]:
    """The revisions, a row each, and stable's pods, which run along axis 1; None when they are not known."""
    # All at once: creating an array costs as much as a hundred numbers in it.
    together = _count_arrays([*both, *pods], shape)
    if not pods or not _pods_lack_counts(together, both, shape):
        return _select_rows(together, slice(0, len(both))), _valid_or_none(
            _select_rows(together, (None, slice(len(both), None)))
        ) if pods else None
    # Rare: the pods lack counts that the revisions have.
    return _count_arrays(both, shape), _valid_or_none(_select_rows(_count_arrays(pods, shape), None))


def _pods_lack_counts(together: RevisionArrays, both: Sequence[RequestCounts], shape: Shape) -> bool:
    """Is a count missing that both revisions have?"""
    return (
        (together.failures is None and all(row.failures is not None for row in both))
        or (together.wrong is None and all(row.incorrect is not None for row in both))
        or (together.labelled is None and all(row.correct is not None for row in both))
        or (together.classes is None and bool(shape.classes))
        or (together.bins is None and bool(shape.bounds))
    )


def _valid_or_none(pods: RevisionArrays) -> RevisionArrays | None:
    """The pods' counts; None if they are impossible, so that nothing is known of the dispersion."""
    numbers = np.concatenate([part.ravel() for part in pods if part is not None])
    # Written so that NaN fails it, too.
    return pods if numbers.min() >= 0 and numbers.max() <= _MAX_COUNT else None


def _count_arrays(rows: Sequence[RequestCounts], shape: Shape) -> RevisionArrays:
    """Counts of several revisions or pods, one per row. A count that one of them lacks is None."""
    columns: dict[str, list[int | None]] = {
        "requests": [row.total for row in rows],
        "errors": [row.server_errors for row in rows],
        "refused": [row.client_errors for row in rows],
        "failures": [row.failures for row in rows],
        "correct": [row.correct for row in rows],
        "incorrect": [row.incorrect for row in rows],
    }
    present = {name: column for name, column in columns.items() if None not in column}
    # One array for all of them, as above.
    counts = dict(zip(present, np.array(list(present.values()), dtype=np.float64), strict=True))
    bins, tiers = _bins(rows, shape)
    return RevisionArrays(
        requests=counts["requests"],
        errors=counts["errors"],
        refused=counts["refused"],
        failures=_minimum(counts.get("failures"), counts["requests"]),
        bins=bins,
        tiers=tiers,
        classes=_classes(rows, shape.classes),
        labelled=_sum(counts.get("correct"), counts.get("incorrect")),
        wrong=counts.get("incorrect"),
    )


def _select_rows(revision: RevisionArrays, at: Any) -> RevisionArrays:
    """Some of the rows, by an index of NumPy; with None in front of it they run along axis 1."""
    requests, errors, *others = revision
    return RevisionArrays(requests[at], errors[at], *[None if value is None else value[at] for value in others])


def _bins(rows: Sequence[RequestCounts], shape: Shape) -> tuple[Floats | None, Floats | None]:
    """Requests between the bounds, all of them and by tier; the last bin is beyond the last bound."""
    if not shape.bounds:
        return None, None
    try:
        of_rows = [[0, *map(row.at_most.__getitem__, shape.bounds), row.timed] for row in rows]
        from_cache = _from_cache(rows, shape)
    except KeyError:
        return None, None
    # One array for all of them, as above.
    cumulative = np.array(of_rows + from_cache, dtype=np.float64)
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
    """The cumulative counts of each tier for each row; an empty list when the cache answered nothing."""
    answered = [(row.cached or {}).get(tier) or {} for row in rows for tier in shape.tiers]
    if not any(map(_total, answered)):
        return []
    select = itemgetter(*shape.bounds, math.inf)
    empty = [0.0] * (len(shape.bounds) + 2)
    return [[0, *select(buckets)] if buckets else empty for buckets in answered]


def _total(buckets: Mapping[float, int]) -> int:
    return buckets.get(math.inf, 0)


def _classes(rows: Sequence[RequestCounts], names: tuple[str, ...]) -> Floats | None:
    if not names:
        return None
    counts: list[list[int]] = []
    for row in rows:
        if row.by_class is None:
            return None
        counts.append(_by_name(row.by_class, names))
    return np.array(counts, dtype=np.float64)


def _by_name(by_class: Mapping[str, int], names: tuple[str, ...]) -> list[int]:
    known = [by_class.get(name, 0) for name in names[:-1]]
    return [*known, sum(by_class.values()) - sum(known)]


def _minimum(values: Floats | None, limit: Floats) -> Floats | None:
    """A retried inference may fail twice for one request, but evidence counts requests."""
    return None if values is None else np.minimum(values, limit)


def _sum(one: Floats | None, other: Floats | None) -> Floats | None:
    return None if one is None or other is None else one + other
