"""How far each release is counted, and how many queries a fleet needs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from iris_operator.adapters.prometheus.client import PrometheusClient, Series, TooMuch
from iris_operator.adapters.prometheus.counters import REQUEST_DURATION_SUM
from iris_operator.adapters.prometheus.fleet import FleetMetrics, joined
from iris_operator.engine.ports import MetricsQuery, MetricsResult, MetricsUnavailable
from iris_operator.metric_names import REQUESTS

STABLE, CANARY, CONTROL = "abc123", "def456", "abc123-control-def456"
SCRAPES = 5.0
RATE = 3


@dataclass
class Scraped:
    """A Prometheus that scrapes each pod every five seconds, at its own moment.

    A pod has 3 requests/s, and each takes half a second.
    """

    pods: dict[str, tuple[str, str, float]]
    """By pod: release, revision, and the moment of its first scrape."""
    queries: list[tuple[str, float]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    numbers: list[float] = field(default_factory=list)

    async def matrix(self, query: str, at: float, **_: bool) -> list[Series]:
        """The samples in the range."""
        self.queries.append((query, at))
        length = float(re.findall(r"\[(\d+)s\]$", query)[0])
        return [
            Series(
                {"__name__": name, "namespace": "iris", "release": release, "revision": revision, "pod": pod},
                [(moment, each * RATE * (moment - first)) for moment in self._moments(first, at - length, at)],
            )
            for pod, (release, revision, first) in self.pods.items()
            for name, each in ((REQUESTS, 1.0), (REQUEST_DURATION_SUM, 0.5))
            if pod not in self.gone and release in query and revision in query
        ]

    async def number(self, _: str, at: float) -> float:
        """A custom query."""
        self.numbers.append(at)
        return 1.0

    def _moments(self, first: float, since: float, until: float) -> Sequence[float]:
        count = int((until - first) // SCRAPES) + 1
        return [moment for moment in (first + SCRAPES * number for number in range(count)) if moment > since]


def fleet(scraped: Scraped) -> FleetMetrics:
    return FleetMetrics(cast("PrometheusClient", scraped), look_back_seconds=30, max_age_seconds=30)


def moment(second: float) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def query(since: datetime, until: float, release: str = "iris", **changes: Any) -> MetricsQuery:
    pods = {CANARY: (f"{release}-canary",), STABLE: (f"{release}-stable",), CONTROL: (f"{release}-control",)}
    fields: dict[str, Any] = {"expected_pods": pods, "next_until": moment(until + 5), **changes}
    return MetricsQuery(namespace="iris", release=release, since=since, until=moment(until), **fields)


def three(release: str, *firsts: float) -> dict[str, tuple[str, str, float]]:
    arms = zip((CANARY, STABLE, CONTROL), ("canary", "stable", "control"), firsts, strict=True)
    return {f"{release}-{name}": (release, revision, first) for revision, name, first in arms}


async def ask(metrics: FleetMetrics, *queries: MetricsQuery) -> list[MetricsResult]:
    """At the same time."""
    return await asyncio.gather(*(metrics.count(each) for each in queries))


async def test_a_release_is_counted_up_to_the_pod_that_was_scraped_first_and_custom_queries_to_the_end() -> None:
    scraped = Scraped(three("iris", 1000, 1002, 1004.5))
    (result,) = await ask(fleet(scraped), query(moment(1010), 1029, queries={"cost": "cost"}))
    assert result.until == moment(1024.5)
    # From the last sample at or before 1010 to the last one at or before that end.
    spans = {CANARY: 1020 - 1010, STABLE: 1022 - 1007, CONTROL: 1024.5 - 1009.5}
    assert {revision: counts.total for revision, counts in result.counts.items()} == {
        revision: RATE * seconds for revision, seconds in spans.items()
    }
    assert scraped.numbers == [1029]


async def test_every_request_is_counted_once_whenever_pods_were_scraped() -> None:
    scraped = Scraped(three("iris", 1000.125, 1002.25, 1004.625))
    metrics, since, totals = fleet(scraped), moment(1010), dict.fromkeys((CANARY, STABLE, CONTROL), 0)
    ends: list[datetime] = []
    for until in (1014, 1019, 1021.5, 1029, 1054, 1059):
        (result,) = await ask(metrics, query(since, until))
        for revision, counts in result.counts.items():
            totals[revision] += counts.total
        assert result.until is not None
        ends.append(since := result.until)
    assert ends == sorted(ends)
    assert ends[-1] == moment(1054.625)
    # From each pod's last sample at or before 1010 to its last one at or before the last end.
    spans = {CANARY: 1050.125 - 1005.125, STABLE: 1052.25 - 1007.25, CONTROL: 1054.625 - 1009.625}
    assert totals == {revision: RATE * seconds for revision, seconds in spans.items()}


async def test_nothing_new_is_no_requests_and_no_error() -> None:
    scraped = Scraped(three("iris", 1000, 1002, 1004))
    (result,) = await ask(fleet(scraped), query(moment(1010), 1012))
    assert (result.until, {counts.total for counts in result.counts.values()}) == (moment(1010), {0})


async def test_an_expected_pod_of_the_control_group_without_samples_is_an_error() -> None:
    scraped = Scraped(three("iris", 1000, 1002, 1004), gone={"iris-control"})
    with pytest.raises(MetricsUnavailable, match="no requests of pod iris-control"):
        await ask(fleet(scraped), query(moment(1010), 1029))


async def test_a_new_pod_that_has_not_been_scraped_yet_stops_nothing() -> None:
    scraped = Scraped(three("iris", 1000, 1002, 1004), gone={"iris-control"})
    pods = {CANARY: ("iris-canary",), STABLE: ("iris-stable",), CONTROL: ()}
    (result,) = await ask(fleet(scraped), query(moment(1010), 1029, expected_pods=pods))
    assert (result.until, list(result.counts)) == (moment(1025), [CANARY, STABLE])


async def test_releases_that_were_scraped_up_to_different_moments_share_a_query() -> None:
    releases = {
        f"r{number}": three(f"r{number}", *(1000 + number / 10 + arm for arm in range(3))) for number in range(9)
    }
    scraped = Scraped({pod: arm for pods in releases.values() for pod, arm in pods.items()})
    metrics, since = fleet(scraped), dict.fromkeys(releases, moment(1010))
    for until in (1019, 1024, 1029):
        results = await ask(metrics, *(query(since[release], until, release) for release in releases))
        since = {release: result.until or moment(0) for release, result in zip(releases, results, strict=True)}
    assert len(set(since.values())) == len(releases)
    assert len(scraped.queries) == 3


async def test_what_a_release_counts_next_is_fetched_with_what_others_ask_for_first() -> None:
    scraped = Scraped({**three("one", 1000, 1001, 1002), **three("two", 1000.5, 1001.5, 1002.5)})
    metrics = fleet(scraped)
    one, two = await ask(metrics, query(moment(1010), 1019, "one"), query(moment(1010), 1019, "two"))
    await ask(metrics, query(one.until or moment(0), 1024, "one"))
    await ask(metrics, query(two.until or moment(0), 1024, "two"))
    assert len(scraped.queries) == 2


async def test_a_release_whose_interval_was_not_judged_is_fetched_along_with_the_others() -> None:
    scraped = Scraped({**three("one", 1000, 1001, 1002), **three("two", 1000.5, 1001.5, 1002.5)})
    metrics, since = fleet(scraped), moment(1010)
    queries: list[int] = []
    totals: list[int] = []
    for until in (1019, 1024, 1029):
        (one,) = await ask(metrics, query(since, until, "one"))
        queries.append(len(scraped.queries))
        # It stays at its first interval, as one with little traffic does.
        (two,) = await ask(metrics, query(moment(1010), until, "two"))
        queries.append(len(scraped.queries))
        totals.append(two.counts[CANARY].total)
        since = one.until or moment(0)
    assert queries[-1] == queries[-2]
    assert totals[-1] == RATE * (1025.5 - 1005.5)


async def test_parts_of_an_interval_are_counted_from_one_fetch() -> None:
    scraped = Scraped(three("iris", 1000, 1002, 1004))
    splits = [moment(second) for second in (1005, 1010, 1020, 1030, 1040)]
    (result,) = await ask(fleet(scraped), query(moment(1010), 1034, split_at=splits))
    assert [part[STABLE].total for part in result.parts] == [RATE * 10, RATE * 10]
    assert sum(part[STABLE].total for part in result.parts) == result.counts[STABLE].total
    assert len(scraped.queries) == 1
    (undivided,) = await ask(fleet(scraped), query(moment(1010), 1034))
    assert undivided.parts == []


async def test_durations_of_pods_that_warm_up_are_left_out() -> None:
    scraped = Scraped(three("iris", 1000, 1002, 1004))
    warm = {"iris-canary": moment(1018), "iris-stable": moment(900)}
    (result,) = await ask(fleet(scraped), query(moment(1010), 1029, warm_since=warm, others_warm_since=moment(1100)))
    assert {revision: (counts.total, counts.seconds) for revision, counts in result.counts.items()} == {
        # Half a second each. Of the control group's pod nothing is known but when the traffic began.
        CANARY: (RATE * 15, 0.5 * RATE * 5),
        STABLE: (RATE * 15, 0.5 * RATE * 15),
        CONTROL: (RATE * 15, 0),
    }


class Failing(Scraped):
    """Queries that name the release `bad` never end well; `held` waits until the test lets it go on."""

    failure: MetricsUnavailable = TooMuch("too large")
    held: asyncio.Event | None = None

    async def matrix(self, query: str, at: float, **options: bool) -> list[Series]:
        if "bad" in query:
            self.queries.append((query, at))
            if self.held:
                await self.held.wait()
            raise self.failure
        return await super().matrix(query, at, **options)


def good_and_bad(count: int = 3) -> Failing:
    releases = [*(f"r{number}" for number in range(count)), "bad"]
    return Failing({pod: arm for release in releases for pod, arm in three(release, 1000, 1001, 1002).items()})


async def test_a_release_that_is_too_much_for_a_query_stops_the_others_for_some_intervals_only() -> None:
    scraped = good_and_bad()
    metrics = fleet(scraped)
    failed: list[int] = []
    for until in range(1019, 1019 + 5 * 8, 5):
        asked = [query(moment(until - 9), until, release) for release in ("r0", "r1", "r2", "bad")]
        results = await asyncio.gather(*map(metrics.count, asked), return_exceptions=True)
        failed.append(sum(isinstance(each, MetricsUnavailable) for each in results))
    assert failed[0] == 4
    assert failed[-1] == 1


async def test_a_prometheus_that_is_down_is_not_asked_in_smaller_queries() -> None:
    scraped = good_and_bad()
    scraped.failure = MetricsUnavailable("connection refused")
    metrics = fleet(scraped)
    for until in range(1019, 1059, 5):
        asked = [query(moment(until - 9), until, release) for release in ("r0", "r1", "r2", "bad")]
        await asyncio.gather(*map(metrics.count, asked), return_exceptions=True)
    assert len(scraped.queries) == 8


async def test_a_query_that_hangs_holds_up_no_release_that_does_not_need_it() -> None:
    scraped = good_and_bad(1)
    scraped.held = asyncio.Event()
    metrics = fleet(scraped)
    hanging = asyncio.create_task(metrics.count(query(moment(1010), 1019, "bad")))
    for _ in range(5):
        await asyncio.sleep(0)
    (result,) = await ask(metrics, query(moment(1010), 1019, "r0"))
    assert result.counts[CANARY].total
    (later,) = await ask(metrics, query(moment(1010), 1024, "r0"))
    assert later.counts[CANARY].total
    assert not hanging.done()
    scraped.held.set()
    with pytest.raises(MetricsUnavailable):
        await hanging


async def test_a_release_that_waits_no_longer_takes_the_result_from_nobody() -> None:
    scraped = good_and_bad(1)
    scraped.held, scraped.failure = asyncio.Event(), MetricsUnavailable("no answer")
    metrics = fleet(scraped)
    first, second = (asyncio.create_task(metrics.count(query(moment(1010), 1019, "bad"))) for _ in range(2))
    for _ in range(5):
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    scraped.held.set()
    with pytest.raises(MetricsUnavailable, match="no answer"):
        await second


async def test_a_revision_with_many_pods_is_fetched_in_parts_and_each_request_is_counted_once() -> None:
    """As a range in one query; a sample on an end of two parts is there once."""
    pods = {f"many-{number}": ("many", CANARY, 1000.0) for number in range(200)}
    scraped = Scraped(pods)
    expected = {CANARY: tuple(pods)}
    (result,) = await ask(fleet(scraped), query(moment(1010), 1030, "many", expected_pods=expected))
    assert len(scraped.queries) > 1
    assert result.counts[CANARY].total == 200 * RATE * 20


def test_parts_are_joined_in_order_of_time_without_doubles() -> None:
    labels = {"pod": "a"}
    joined_parts = joined(
        [[Series(labels, [(1, 1), (2, 2)])], [Series(labels, [(2, 2), (3, 3)]), Series({}, [(3, 9)])]]
    )
    assert joined_parts == [Series(labels, [(1, 1), (2, 2), (3, 3)]), Series({}, [(3, 9)])]
