"""One set of queries per interval for all releases that are judged at the same moment."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise

from iris_operator.adapters.prometheus.batches import Batch, Batches, Revision, Selection
from iris_operator.adapters.prometheus.client import PrometheusClient, Series, TooMuch
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

# So many of the user's own queries of one release at the same time: the places are for all releases.
_CUSTOM_QUERIES = 2

_Found = Mapping[Revision, tuple[Series, ...] | MetricsUnavailable]


@dataclass(frozen=True)
class _CachedSeries:
    """The fetch that has, or will have, the series of one revision from a moment on, or why there are none."""

    start: float
    with_shadow: bool
    fetch: asyncio.Task[_Found]


class FleetMetrics:
    """Implements `engine.ports.Metrics`.

    Releases with the same interval query the same end of it. The first query fetches the counters of all releases that
    are expected to query that end; the others find theirs in the cache. A release that is new, or queries a longer
    interval than was expected, is fetched along with all that wait at that time.

    A release waits for the queries that have its own counters, and for no others.

    How far the pods were scraped differs between releases: each is counted up to where its own pods were.
    """

    def __init__(
        self,
        client: PrometheusClient,
        *,
        look_back_seconds: float,
        max_age_seconds: float,
        deadline_seconds: float = 10.0,
    ) -> None:
        """`deadline_seconds` is how long a release waits for its counters, and then for its custom queries."""
        self._client = client
        self._deadline = deadline_seconds
        self._look_back = look_back_seconds
        self._max_age = max_age_seconds
        self._batches = Batches()
        self._expected: dict[tuple[str, str], MetricsQuery] = {}
        self._waiting: list[MetricsQuery] = []
        self._until: datetime | None = None
        self._cache: dict[Revision, _CachedSeries] = {}
        self._fetches: set[asyncio.Task[_Found]] = set()

    async def count(self, query: MetricsQuery) -> MetricsResult:
        """See `Metrics.count`."""
        series = await self._series(query)
        counted = await asyncio.to_thread(_count, query, series, _window(query, self._max_age))
        return replace(counted, custom=await self._custom(query))

    async def _series(self, query: MetricsQuery) -> _Found:
        self._waiting.append(query)
        try:
            # Queries of the same tick are all registered before the first of them fetches.
            await asyncio.sleep(0)
            if self._until != query.until or not self._is_cached(query):
                self._fetch_due(query)
            fetches = {revision: self._cache[revision].fetch for revision in _revisions(query)}
        finally:
            self._waiting = [each for each in self._waiting if each is not query]
        if fetches:
            # Others wait for the same ones: they go on when this release does not wait any more.
            await asyncio.wait(set(fetches.values()))
        # Only now: the next fetch for all others is not to hang with one that still does.
        self._expected[query.namespace, query.release] = query
        return {revision: fetch.result()[revision] for revision, fetch in fetches.items()}

    def _is_cached(self, query: MetricsQuery) -> bool:
        """A failure is cached, too: it is not retried before the next interval."""
        cached = [self._cache.get(revision) for revision in _revisions(query)]
        with_shadow = bool(query.shadow_revision)
        return all(
            each is not None and each.start <= self._start(query) and each.with_shadow >= with_shadow for each in cached
        )

    def _start(self, query: MetricsQuery) -> float:
        return query.since.timestamp() - self._look_back

    def _fetch_due(self, query: MetricsQuery) -> None:
        """Begin to fetch the series of all that are due at this end: those that wait, and those that are expected."""
        end = query.until
        if end != self._until:
            self._until, self._cache = end, {}
            self._expected = {key: each for key, each in self._expected.items() if each.next_until >= end}
        # A release does not know yet how far it was counted, or whether that could be judged: its next query begins
        # where this one did, or later.
        expected = [each for each in self._expected.values() if each.next_until == end and not self._has_series(each)]
        due = [each for each in self._waiting if each.until == end and not self._is_cached(each)]
        selections: dict[Revision, Selection] = {}
        pods: dict[Revision, int] = {}
        for each in (*expected, *due):
            for revision in _revisions(each):
                selections[revision] = _selection(self._start(each), end.timestamp(), each)
                pods[revision] = len(each.expected_pods[revision[2]])
        for batch in self._batches.divide(selections, pods, end.timestamp()):
            fetch = asyncio.create_task(self._fetch(batch, end.timestamp()))
            self._fetches.add(fetch)
            fetch.add_done_callback(self._fetches.discard)
            self._cache |= {revision: _CachedSeries(*batch.selection, fetch) for revision in batch.revisions}

    def _has_series(self, query: MetricsQuery) -> bool:
        return all(revision in self._cache for revision in _revisions(query))

    async def _fetch(self, batch: Batch, end: float) -> _Found:
        """The series of a batch, or why there are none; never raises."""
        try:
            async with asyncio.timeout(self._deadline):
                series = await self._fetch_parts(batch, end)
        except TimeoutError:
            late = TooMuch(f"Prometheus has not answered completely in {self._deadline:g} s")
            self._batches.note(batch, late)
            return dict.fromkeys(batch.revisions, late)
        except MetricsUnavailable as error:
            self._batches.note(batch, error)
            return dict.fromkeys(batch.revisions, error)
        except Exception as error:  # noqa: BLE001 - all that wait for it need an answer
            failure = MetricsUnavailable(f"the counters cannot be read: {type(error).__name__}: {error}")
            return dict.fromkeys(batch.revisions, failure)
        self._batches.note(batch, None)
        by_revision: dict[Revision, list[Series]] = {revision: [] for revision in batch.revisions}
        for each in series:
            label = each.labels.get
            # The selector also matches mixed labels of two selected revisions: those series belong to none.
            by_revision.get((label("namespace", ""), label("release", ""), label("revision", "")), []).append(each)
        return {revision: tuple(of) for revision, of in by_revision.items()}

    async def _fetch_parts(self, batch: Batch, end: float) -> Sequence[Series]:
        selector = _selector(batch.revisions, with_shadow=batch.selection.with_shadow)
        seconds = math.ceil((end - batch.selection.start) / batch.parts)
        query = f"{{{selector}}}[{seconds}s]"
        if batch.parts == 1:
            return await self._client.matrix(query, end, slow=batch.slow)
        ends = [end - part * seconds for part in reversed(range(batch.parts))]
        return joined([await self._client.matrix(query, each, slow=batch.slow) for each in ends])

    async def _custom(self, query: MetricsQuery) -> Mapping[str, float | str | None]:
        at = query.until.timestamp()
        places = asyncio.Semaphore(_CUSTOM_QUERIES)
        numbers = await asyncio.gather(*(self._number(query, at, places) for query in query.queries.values()))
        return dict(zip(query.queries, numbers, strict=True))

    async def _number(self, query: str, at: float, places: asyncio.Semaphore) -> float | str | None:
        try:
            async with asyncio.timeout(self._deadline), places:
                return await self._client.number(query, at)
        except MetricsUnavailable as error:
            return str(error)
        except TimeoutError:
            return f"no result in {self._deadline:g} s, with the time that it waited for other queries"


def joined(parts: Iterable[Sequence[Series]]) -> list[Series]:
    """The series of adjoining ranges, in order of time, as those of one range. A sample on an end may be in both."""
    samples: dict[frozenset[tuple[str, str]], dict[float, float]] = {}
    for part in parts:
        for series in part:
            samples.setdefault(frozenset(series.labels.items()), {}).update(series.samples)
    return [Series(dict(labels), list(of.items())) for labels, of in samples.items()]


def _selection(start: float, end: float, query: MetricsQuery) -> Selection:
    """From that start at the latest: of few lengths, so that releases that were scraped up to now share queries."""
    seconds = max(1.0, end - start)
    step = 2.0 ** math.floor(math.log2(seconds)) / 2
    return Selection(end - math.ceil(seconds / step) * step, bool(query.shadow_revision))


def _window(query: MetricsQuery, max_age: float) -> Window:
    others = query.others_warm_since
    return Window(
        query.since.timestamp(),
        query.until.timestamp(),
        max_age,
        {pod: moment.timestamp() for pod, moment in query.warm_since.items()},
        -math.inf if others is None else others.timestamp(),
    )


def _count(query: MetricsQuery, found: _Found, window: Window) -> MetricsResult:
    by_revision: dict[str, tuple[Series, ...]] = {}
    pods: dict[str, Pods] = {}
    for revision in query.expected_pods:
        series = found[query.namespace, query.release, revision]
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
