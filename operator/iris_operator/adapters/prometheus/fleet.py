"""One set of queries per interval for all releases that are judged at the same moment."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from iris_operator.adapters.prometheus.client import PrometheusClient, Series
from iris_operator.adapters.prometheus.counters import (
    LABELS_BY_METRIC,
    Pods,
    Window,
    by_pod,
    counts_of_pods,
    scraped_through,
)
from iris_operator.adapters.prometheus.relayed_feedback import LABELS_BY_METRIC as RELAYED
from iris_operator.adapters.prometheus.relayed_feedback import with_relayed
from iris_operator.adapters.prometheus.shadow import LABELS_BY_METRIC as COPIES
from iris_operator.adapters.prometheus.shadow import shadow_counts
from iris_operator.analysis.counts import RequestCounts
from iris_operator.engine.ports import MetricsQuery, MetricsResult, MetricsUnavailable

# Few queries for many releases, and no result is larger than some megabytes.
_REVISIONS_PER_QUERY = 200

Revision = tuple[str, str, str]
"""Namespace, release, revision."""


class _Selection(NamedTuple):
    """From when on a revision's counters are needed, and whether those of mirrored requests are, as many again."""

    start: float
    with_shadow: bool


@dataclass(frozen=True)
class _CachedSeries:
    """The series of one revision from a moment on, or why there are none."""

    start: float
    with_shadow: bool
    series: tuple[Series, ...] | MetricsUnavailable


class FleetMetrics:
    """Implements `engine.ports.Metrics`.

    Releases with the same interval query the same end of it. The first query fetches the counters of all releases that
    are expected to query that end; the others find theirs in the cache. A release that is new, or queries a longer
    interval than was expected, is fetched along with all that wait at that time.

    How far the pods were scraped differs between releases: each is counted up to where its own pods were.
    """

    def __init__(self, client: PrometheusClient, *, look_back_seconds: float, max_age_seconds: float) -> None:
        self._client = client
        self._look_back = look_back_seconds
        self._max_age = max_age_seconds
        self._lock = asyncio.Lock()
        self._expected: dict[tuple[str, str], MetricsQuery] = {}
        self._waiting: list[MetricsQuery] = []
        self._until: datetime | None = None
        self._cache: dict[Revision, _CachedSeries] = {}

    async def count(self, query: MetricsQuery) -> MetricsResult:
        """See `Metrics.count`."""
        cached = await self._series(query)
        counted = await asyncio.to_thread(_count, query, cached, _window(query, self._max_age))
        return replace(counted, custom=await self._custom(query))

    async def _series(self, query: MetricsQuery) -> Mapping[Revision, _CachedSeries]:
        self._waiting.append(query)
        try:
            # Queries of the same tick are all registered before the first of them fetches.
            await asyncio.sleep(0)
            async with self._lock:
                if self._until != query.until or not self._is_cached(query):
                    await self._fetch_due(query)
                self._expected[query.namespace, query.release] = query
                return {revision: self._cache[revision] for revision in _revisions(query)}
        finally:
            self._waiting = [each for each in self._waiting if each is not query]

    def _is_cached(self, query: MetricsQuery) -> bool:
        """A failure is cached, too: it is not retried before the next interval."""
        cached = [self._cache.get(revision) for revision in _revisions(query)]
        with_shadow = bool(query.shadow_revision)
        return all(
            each is not None and each.start <= self._start(query) and each.with_shadow >= with_shadow for each in cached
        )

    def _start(self, query: MetricsQuery) -> float:
        return query.since.timestamp() - self._look_back

    async def _fetch_due(self, query: MetricsQuery) -> None:
        """Fetch the series of all that are due at this end: those that wait, and those that are expected."""
        end = query.until
        if end != self._until:
            self._until, self._cache = end, {}
            self._expected = {key: each for key, each in self._expected.items() if each.next_until >= end}
        # A release does not know yet how far it was counted, or whether that could be judged: its next query begins
        # where this one did, or later.
        expected = [each for each in self._expected.values() if each.next_until == end and not self._has_series(each)]
        selections = {
            revision: _selection(self._start(each), end.timestamp(), each)
            for each in expected
            for revision in _revisions(each)
        }
        due = [each for each in self._waiting if each.until == end and not self._is_cached(each)]
        selections |= {
            revision: _selection(self._start(each), end.timestamp(), each)
            for each in due
            for revision in _revisions(each)
        }
        for cached in await asyncio.gather(
            *(
                self._fetch_series(revisions, selection, end.timestamp())
                for selection, revisions in _batches(selections)
            )
        ):
            self._cache.update(cached)

    def _has_series(self, query: MetricsQuery) -> bool:
        return all(revision in self._cache for revision in _revisions(query))

    async def _fetch_series(
        self, revisions: list[Revision], selection: _Selection, end: float
    ) -> Mapping[Revision, _CachedSeries]:
        query = f"{{{_selector(revisions, with_shadow=selection.with_shadow)}}}[{math.ceil(end - selection.start)}s]"
        try:
            series = await self._client.matrix(query, end)
        except MetricsUnavailable as error:
            return {revision: _CachedSeries(*selection, error) for revision in revisions}
        by_revision: dict[Revision, list[Series]] = {revision: [] for revision in revisions}
        for each in series:
            label = each.labels.get
            # The selector also matches mixed labels of two selected revisions: those series belong to none.
            by_revision.get((label("namespace", ""), label("release", ""), label("revision", "")), []).append(each)
        return {revision: _CachedSeries(*selection, tuple(of)) for revision, of in by_revision.items()}

    async def _custom(self, query: MetricsQuery) -> Mapping[str, float | str | None]:
        at = query.until.timestamp()
        numbers = await asyncio.gather(*(self._number(query, at) for query in query.queries.values()))
        return dict(zip(query.queries, numbers, strict=True))

    async def _number(self, query: str, at: float) -> float | str | None:
        try:
            return await self._client.number(query, at)
        except MetricsUnavailable as error:
            return str(error)


def _batches(selections: Mapping[Revision, _Selection]) -> Iterator[tuple[_Selection, list[Revision]]]:
    """Revisions with the same selection, no more than fit into one query."""
    by_selection: dict[_Selection, list[Revision]] = {}
    for revision, selection in sorted(selections.items()):
        by_selection.setdefault(selection, []).append(revision)
    for selection, revisions in by_selection.items():
        for at in range(0, len(revisions), _REVISIONS_PER_QUERY):
            yield selection, revisions[at : at + _REVISIONS_PER_QUERY]


def _selection(start: float, end: float, query: MetricsQuery) -> _Selection:
    """From that start at the latest: of few lengths, so that releases that were scraped up to now share queries."""
    seconds = max(1.0, end - start)
    step = 2.0 ** math.floor(math.log2(seconds)) / 2
    return _Selection(end - math.ceil(seconds / step) * step, bool(query.shadow_revision))


def _window(query: MetricsQuery, max_age: float) -> Window:
    others = query.others_warm_since
    return Window(
        query.since.timestamp(),
        query.until.timestamp(),
        max_age,
        {pod: moment.timestamp() for pod, moment in query.warm_since.items()},
        -math.inf if others is None else others.timestamp(),
    )


def _count(query: MetricsQuery, cached: Mapping[Revision, _CachedSeries], window: Window) -> MetricsResult:
    by_revision: dict[str, tuple[Series, ...]] = {}
    pods: dict[str, Pods] = {}
    for revision in query.expected_pods:
        series = cached[query.namespace, query.release, revision].series
        if isinstance(series, MetricsUnavailable):
            raise series
        by_revision[revision] = series
        pods[revision] = by_pod(series, LABELS_BY_METRIC)
    scraped = [scraped_through(pods[revision], expected, window) for revision, expected in query.expected_pods.items()]
    end = datetime.fromtimestamp(min(scraped, default=window.until), UTC)
    window = replace(window, until=end.timestamp())
    counts = with_relayed(_counts_of_pods(pods, window), by_revision, window)
    inner = [moment.timestamp() for moment in query.split_at if query.since < moment < end]
    parts = [
        _counts_of_pods(pods, replace(window, since=since, until=until))
        for since, until in pairwise([window.since, *inner, window.until] if query.split_at else ())
    ]
    canary = query.shadow_revision
    if not canary:
        return MetricsResult(counts, until=end, parts=parts)
    shadow = shadow_counts(canary, query.shadow_control, by_revision, window)
    return MetricsResult(counts, shadow, until=end, parts=parts)


def _counts_of_pods(pods: Mapping[str, Pods], window: Window) -> dict[str, RequestCounts]:
    counts = {revision: counts_of_pods(of, window) for revision, of in pods.items()}
    return {revision: of for revision, of in counts.items() if of is not None}


def _revisions(query: MetricsQuery) -> list[Revision]:
    return [(query.namespace, query.release, revision) for revision in query.expected_pods]


def _selector(selected: Iterable[Revision], *, with_shadow: bool) -> str:
    """All metrics that are judged, of all these revisions, in one query."""
    namespaces, releases, revisions = (sorted(set(values)) for values in zip(*selected, strict=True))
    families = {**LABELS_BY_METRIC, **RELAYED, **(COPIES if with_shadow else {})}
    labels = {"__name__": sorted(families), "namespace": namespaces, "release": releases, "revision": revisions}
    return ",".join(f'{name}=~"{"|".join(values)}"' for name, values in labels.items())
