"""One set of queries an interval for all releases that are judged at the same moment."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from iris_operator.adapters.prometheus.client import PrometheusClient, Series
from iris_operator.adapters.prometheus.copies import FAMILIES as COPIES
from iris_operator.adapters.prometheus.copies import copies_of
from iris_operator.adapters.prometheus.counters import FAMILIES, Span, counts_of
from iris_operator.adapters.prometheus.relayed import FAMILIES as RELAYED
from iris_operator.adapters.prometheus.relayed import with_relayed
from iris_operator.analysis.counts import Copies, RequestCounts
from iris_operator.engine.ports import Answer, MetricsUnavailable, Question

# Revisions in one query: a fleet is asked for in a few of them, and no answer is larger than some megabytes.
_IN_A_QUERY = 200

Revision = tuple[str, str, str]
"""Namespace, release, revision."""


class _Wanted(NamedTuple):
    """From when on a revision's counters are wanted, and whether those about copies, as many again, are."""

    begins: float
    with_copies: bool


@dataclass(frozen=True)
class _Held:
    """The series of one revision from a moment on, or why there are none."""

    begins: float
    with_copies: bool
    series: tuple[Series, ...] | MetricsUnavailable


class FleetMetrics:
    """Implements `engine.ports.Metrics`.

    Releases with the same interval ask for the same end of it. The first to ask gets the counters of all that are
    known to ask for that end; the others find theirs. A release that is new, or asks for a longer interval than was
    expected, is asked for along with all that wait at that time.
    """

    def __init__(self, client: PrometheusClient, *, look_back_seconds: float, max_age_seconds: float) -> None:
        self._client = client
        self._look_back = look_back_seconds
        self._max_age = max_age_seconds
        self._turn = asyncio.Lock()
        self._expected: dict[tuple[str, str], Question] = {}
        self._waiting: list[Question] = []
        self._until: datetime | None = None
        self._held: dict[Revision, _Held] = {}

    async def count(self, question: Question) -> Answer:
        """See `Metrics.count`."""
        held = await self._series(question)
        span = Span(question.since.timestamp(), question.until.timestamp(), self._max_age)
        counts, copies = await asyncio.to_thread(_count, question, held, span)
        return Answer(counts, copies, await self._custom(question))

    async def _series(self, question: Question) -> Mapping[Revision, _Held]:
        self._waiting.append(question)
        try:
            # Those that are woken at the same tick get in line before the first of them asks.
            await asyncio.sleep(0)
            async with self._turn:
                if self._until != question.until or not self._covers(question):
                    await self._fetch(question)
                self._expected[question.namespace, question.release] = question
                return {revision: self._held[revision] for revision in _revisions(question)}
        finally:
            self._waiting = [each for each in self._waiting if each is not question]

    def _covers(self, question: Question) -> bool:
        """Failed queries cover, too: they are not asked again before the next interval."""
        held = [self._held.get(revision) for revision in _revisions(question)]
        copies = bool(question.copied_to)
        return all(
            each is not None and each.begins <= self._begin(question) and each.with_copies >= copies for each in held
        )

    def _begin(self, question: Question) -> float:
        return question.since.timestamp() - self._look_back

    async def _fetch(self, question: Question) -> None:
        """Ask for all that are due at this end: those that wait, and those that said that they would ask."""
        end = question.until
        if end != self._until:
            self._until, self._held = end, {}
            self._expected = {key: each for key, each in self._expected.items() if each.again >= end}
        # Those that have not asked yet are expected to go on where they ended.
        expected = [each for each in self._expected.values() if each.again == end and not self._holds(each)]
        wanted = {
            revision: _Wanted(each.until.timestamp() - self._look_back, bool(each.copied_to))
            for each in expected
            for revision in _revisions(each)
        }
        due = [each for each in self._waiting if each.until == end and not self._covers(each)]
        wanted |= {
            revision: _Wanted(self._begin(each), bool(each.copied_to)) for each in due for revision in _revisions(each)
        }
        for held in await asyncio.gather(*(self._ask(part, what, end.timestamp()) for what, part in _parts(wanted))):
            self._held.update(held)

    def _holds(self, question: Question) -> bool:
        return all(revision in self._held for revision in _revisions(question))

    async def _ask(self, wanted: list[Revision], what: _Wanted, end: float) -> Mapping[Revision, _Held]:
        query = f"{{{_selector(wanted, with_copies=what.with_copies)}}}[{math.ceil(end - what.begins)}s]"
        try:
            series = await self._client.matrix(query, end)
        except MetricsUnavailable as error:
            return {revision: _Held(*what, error) for revision in wanted}
        found: dict[Revision, list[Series]] = {revision: [] for revision in wanted}
        for one in series:
            label = one.labels.get
            # The selector lets through what carries the labels of two wanted revisions: it is nobody's.
            found.get((label("namespace", ""), label("release", ""), label("revision", "")), []).append(one)
        return {revision: _Held(*what, tuple(of)) for revision, of in found.items()}

    async def _custom(self, question: Question) -> Mapping[str, float | str | None]:
        at = question.until.timestamp()
        numbers = await asyncio.gather(*(self._number(query, at) for query in question.queries.values()))
        return dict(zip(question.queries, numbers, strict=True))

    async def _number(self, query: str, at: float) -> float | str | None:
        try:
            return await self._client.number(query, at)
        except MetricsUnavailable as error:
            return str(error)


def _parts(wanted: Mapping[Revision, _Wanted]) -> Iterator[tuple[_Wanted, list[Revision]]]:
    """Revisions of which the same counters are wanted from the same moment on, no more than fit into a query."""
    alike: dict[_Wanted, list[Revision]] = {}
    for revision, what in sorted(wanted.items()):
        alike.setdefault(what, []).append(revision)
    for what, revisions in alike.items():
        for at in range(0, len(revisions), _IN_A_QUERY):
            yield what, revisions[at : at + _IN_A_QUERY]


def _count(
    question: Question, held: Mapping[Revision, _Held], span: Span
) -> tuple[dict[str, RequestCounts], Copies | None]:
    counts: dict[str, RequestCounts] = {}
    by_revision: dict[str, tuple[Series, ...]] = {}
    for revision, must in question.pods.items():
        series = held[question.namespace, question.release, revision].series
        if isinstance(series, MetricsUnavailable):
            raise series
        by_revision[revision] = series
        found = counts_of(series, must, span)
        if found is not None:
            counts[revision] = found
    counts = with_relayed(counts, by_revision, span)
    canary = question.copied_to
    if not canary:
        return counts, None
    stables = [one for revision, series in by_revision.items() if revision != canary for one in series]
    return counts, copies_of(canary, by_revision.get(canary, ()), stables, span)


def _revisions(question: Question) -> list[Revision]:
    return [(question.namespace, question.release, revision) for revision in question.pods]


def _selector(wanted: Iterable[Revision], *, with_copies: bool) -> str:
    """All metrics that are judged, of all these revisions, in one query."""
    namespaces, releases, revisions = (sorted(set(values)) for values in zip(*wanted, strict=True))
    families = {**FAMILIES, **RELAYED, **(COPIES if with_copies else {})}
    labels = {"__name__": sorted(families), "namespace": namespaces, "release": releases, "revision": revisions}
    return ",".join(f'{name}=~"{"|".join(values)}"' for name, values in labels.items())
