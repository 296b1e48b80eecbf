"""How the counters of many revisions are divided into queries: few, and none with a result beyond the limit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from iris_operator.adapters.prometheus.client import TooMuch
from iris_operator.engine.ports import MetricsUnavailable

# Pods times seconds of one query. A pod of the service has about 150 counters, which makes about 75 kB a minute when it
# is scraped every five seconds: this is a bit more than half of the client's limit.
_POD_SECONDS = 2400.0
# A revision's counters are fetched in at most so many queries.
_MAX_PARTS = 32
# So small becomes a batch at the end: less than the samples of one pod in a minute.
_MAX_DIVISION = 128
# Some of them are gone.
_MAX_REMEMBERED = 10_000

Revision = tuple[str, str, str]
"""Namespace, release, revision."""


class Selection(NamedTuple):
    """From when on a revision's counters are needed, and whether those of mirrored requests are, as many again."""

    start: float
    with_shadow: bool


@dataclass(frozen=True)
class Batch:
    """Revisions that are fetched together, in `parts` queries of the same length one after the other.

    `slow` are those that were too slow or too large before.
    """

    selection: Selection
    revisions: tuple[Revision, ...]
    parts: int
    slow: bool


class Batches:
    """Divides revisions into batches. Those that were too much together are fetched in smaller batches, then alone.

    So one release whose counters are too many, or too slow, stops only its own judgement, after a few intervals.
    """

    def __init__(self) -> None:
        self._divided: dict[Revision, int] = {}

    def divide(
        self, selections: Mapping[Revision, Selection], pods: Mapping[Revision, int], end: float
    ) -> Iterator[Batch]:
        """The batches for these revisions; those that are expected to be fast come first."""
        groups: dict[tuple[int, Selection], list[Revision]] = {}
        for revision, selection in sorted(selections.items()):
            groups.setdefault((self._divided.get(revision, 1), selection), []).append(revision)
        for (divided, selection), revisions in sorted(groups.items()):
            budget = _POD_SECONDS / divided / (2 if selection.with_shadow else 1)
            most = budget / max(1.0, end - selection.start)
            batch: list[Revision] = []
            filled = 0
            for revision in revisions:
                size = max(1, pods[revision])
                if batch and filled + size > most:
                    yield _batch(selection, batch, filled / most, divided)
                    batch, filled = [], 0
                batch.append(revision)
                filled += size
            yield _batch(selection, batch, filled / most, divided)

    def note(self, batch: Batch, failure: MetricsUnavailable | None) -> None:
        """Learn from how the batch's queries ended."""
        for revision in batch.revisions:
            divided = self._divided.pop(revision, 1)
            if isinstance(failure, TooMuch):
                divided = min(2 * divided, _MAX_DIVISION)
            elif failure is None:
                divided //= 2
            if divided > 1:
                self._divided[revision] = divided
        if len(self._divided) > _MAX_REMEMBERED:
            self._divided.clear()


def _batch(selection: Selection, revisions: list[Revision], parts: float, divided: int) -> Batch:
    return Batch(selection, tuple(revisions), min(_MAX_PARTS, math.ceil(parts)), slow=divided > 1)
