"""Sums of counts: of a revision's pods, and of the revisions that are pooled in a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TypeVar

from iris_operator.analysis.counts import Bin, RequestCounts

Name = TypeVar("Name", str, float, Bin, tuple[str, ...])
Number = TypeVar("Number", int, float)


def sum_of_pods(pods: Sequence[RequestCounts]) -> RequestCounts:
    """All pods of a revision together. What one of them does not count is unknown for the revision."""
    return _sum(pods, tuple(pods))


def pool(revisions: Sequence[RequestCounts]) -> RequestCounts:
    """Several revisions as one, with the pods of all. What one of them does not count is unknown."""
    return _sum(revisions, tuple(chain.from_iterable(each.pods for each in revisions)))


def add_up(parts: Iterable[Mapping[Name, int]]) -> dict[Name, int]:
    """The sums by name."""
    sums: dict[Name, int] = {}
    for part in parts:
        for name, count in part.items():
            sums[name] = sums.get(name, 0) + count
    return sums


def _sum(parts: Sequence[RequestCounts], pods: tuple[RequestCounts, ...]) -> RequestCounts:
    return RequestCounts(
        by_code=add_up(part.by_code for part in parts),
        at_most=_sum_of_histograms([part.at_most for part in parts]),
        timed=sum(part.timed for part in parts),
        seconds=_sum_if_all_known([part.seconds for part in parts]),
        cached=_sum_by_name([part.cached for part in parts]),
        failures=_sum_if_all_known([part.failures for part in parts]),
        by_class=None
        if any(part.by_class is None for part in parts)
        else add_up(part.by_class or {} for part in parts),
        features=_sum_by_name([part.features for part in parts]),
        correct=_sum_if_all_known([part.correct for part in parts]),
        incorrect=_sum_if_all_known([part.incorrect for part in parts]),
        pods=pods,
    )


def _sum_of_histograms(parts: Sequence[Mapping[float, int]]) -> dict[float, int]:
    """With the bounds that all histograms have: cumulative counts of different bounds are no histogram together."""
    sums, counted = add_up(parts), [part for part in parts if part]
    if all(len(part) == len(sums) for part in counted):
        return sums
    return {bound: count for bound, count in sums.items() if all(bound in part for part in counted)}


def _sum_by_name(parts: Sequence[Mapping[str, Mapping[Name, int]] | None]) -> dict[str, dict[Name, int]] | None:
    known: list[Mapping[str, Mapping[Name, int]]] = [part for part in parts if part is not None]
    if len(known) != len(parts):
        return None
    return {name: add_up(part.get(name, {}) for part in known) for name in sorted({*chain(*known)})}


def _sum_if_all_known(values: Sequence[Number | None]) -> Number | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
