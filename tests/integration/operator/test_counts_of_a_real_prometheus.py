"""What the operator counts, from pages of counters through a real Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from integration.harness.fixtures import StartPrometheus
from integration.harness.prometheus import Prometheus
from integration.operator.pods import Pod, await_scrapes, running
from iris_operator.adapters.prometheus.client import PrometheusClient
from iris_operator.adapters.prometheus.fleet import FleetMetrics
from iris_operator.engine.ports import Answer, MetricsUnavailable, Question

STABLE, CANARY = "aaaaaaaaaa", "bbbbbbbbbb"
INTERVAL = timedelta(seconds=10)


def pod(name: str, revision: str, release: str = "iris") -> Pod:
    return Pod({"namespace": "iris", "release": release, "revision": revision, "pod": name})


@pytest.fixture
def pods() -> Iterator[tuple[Pod, Pod, Pod]]:
    """Two pods of stable and one of the canary."""
    three = pod("stable-0", STABLE), pod("stable-1", STABLE), pod("canary-0", CANARY)
    with running(*three):
        yield three


@pytest.fixture
def prometheus(start_prometheus: StartPrometheus, pods: tuple[Pod, Pod, Pod]) -> Prometheus:
    started = start_prometheus([{"job_name": "iris-inference", "static_configs": [each.target for each in pods]}])
    stored(started, *pods)
    return started


def metrics(prometheus: Prometheus) -> FleetMetrics:
    client = PrometheusClient(prometheus.url, timeout_seconds=5)
    return FleetMetrics(client, look_back_seconds=30, max_age_seconds=5)


def now() -> datetime:
    return datetime.now(UTC)


def question(since: datetime, until: datetime, **changes: Any) -> Question:
    pods = {CANARY: ("canary-0",), STABLE: ("stable-0", "stable-1")}
    asked: dict[str, Any] = {"namespace": "iris", "release": "iris", "pods": pods, **changes}
    return Question(since=since, until=until, **{"again": until + INTERVAL, **asked})


def stored(prometheus: Prometheus, *pods: Pod) -> datetime:
    """A moment by which Prometheus has what these pods counted so far; a scrape may fail on a busy machine."""
    client = PrometheusClient(prometheus.url, timeout_seconds=5)
    names = "|".join(pod.labels["pod"] for pod in pods)
    newest = f'sum(inference_requests_total{{pod=~"{names}"}})'
    for _ in range(30):
        await_scrapes(*pods, more=1)
        if asyncio.run(client.number(newest, now().timestamp())) == sum(pod.requests for pod in pods):
            return now()
    raise AssertionError("Prometheus does not see what was counted")


async def ask(prometheus: Prometheus, *questions: Question) -> list[Answer]:
    fleet = metrics(prometheus)
    return await asyncio.gather(*(fleet.count(each) for each in questions))


def test_every_request_is_counted_once_and_by_pod(prometheus: Prometheus, pods: tuple[Pod, Pod, Pod]) -> None:
    one, other, canary = pods
    since = now()
    one.serve(100, errors=1)
    other.serve(50, slow=5)
    canary.serve(20, errors=4, wrong=3)
    between = stored(prometheus, *pods)
    one.serve(7)
    until = stored(prometheus, *pods)

    first = asyncio.run(ask(prometheus, question(since, between)))
    second = asyncio.run(ask(prometheus, question(between, until)))
    stable, seen = first[0].counts[STABLE], first[0].counts[CANARY]
    assert (stable.total, stable.server_errors, stable.timed, stable.at_most[0.01]) == (150, 1, 150, 145)
    assert sorted(each.total for each in stable.pods) == [50, 100]
    assert (seen.total, seen.server_errors, seen.failures, seen.correct, seen.incorrect) == (20, 4, 4, 13, 3)
    assert seen.by_class == {"setosa": 16, "virginica": 0}
    assert second[0].counts[STABLE].total == 7
    assert second[0].counts[CANARY].total == 0


def test_what_both_versions_made_of_copies_is_counted_where_it_is_known(
    prometheus: Prometheus, pods: tuple[Pod, Pod, Pod]
) -> None:
    one, other, _ = pods
    one.compared("shadow_copies_total", CANARY, answered=0, failed=0, timeout=0, refused=0)
    one.compared("shadow_labels_total", CANARY, both=0, only_stable=0, only_canary=0, neither=0)
    since = stored(prometheus, *pods)
    one.serve(50)
    one.compared("shadow_copies_total", CANARY, answered=20, failed=2, timeout=1, refused=4)
    one.compared("shadow_pairs_total", CANARY, same=18, different=2, only_stable=3)
    one.compared("shadow_labels_total", CANARY, both=5, only_stable=3, only_canary=1, neither=1)
    one.compared("shadow_labels_total", "cccccccccc", only_stable=7)
    # A pod that has just read the plan.
    other.serve(50)
    other.compared("shadow_copies_total", CANARY, answered=10)
    other.compared("shadow_labels_total", CANARY, only_stable=2)
    until = stored(prometheus, *pods)

    (plain,) = asyncio.run(ask(prometheus, question(since, until)))
    assert plain.copies is None
    (copied,) = asyncio.run(ask(prometheus, question(since, until, copied_to=CANARY)))
    assert copied.counts[STABLE].total == 100
    copies = copied.copies
    assert copies is not None
    assert copies.counts.by_code == {"200": 30, "500": 3}
    assert (copies.same, copies.different, copies.lost) == (18, 2, {"refused": 4})
    assert copies.labels == (5, 5, 1, 1)
    assert (copies.counts.correct, copies.counts.incorrect) == (6, 6)


def test_a_restarted_process_loses_nothing_that_was_scraped(prometheus: Prometheus, pods: tuple[Pod, Pod, Pod]) -> None:
    canary = pods[2]
    since = now()
    canary.serve(30)
    stored(prometheus, canary)
    canary.restart()
    canary.serve(12, errors=2)
    until = stored(prometheus, *pods)

    (answer,) = asyncio.run(ask(prometheus, question(since, until)))
    assert (answer.counts[CANARY].total, answer.counts[CANARY].server_errors) == (42, 2)


def test_a_pod_that_is_ready_and_not_scraped_makes_the_interval_untrusted(
    prometheus: Prometheus, pods: tuple[Pod, Pod, Pod]
) -> None:
    since, until = now(), stored(prometheus, *pods)
    asked = question(since, until, pods={CANARY: ("canary-0", "canary-1"), STABLE: ()})
    with pytest.raises(MetricsUnavailable, match="no requests of pod canary-1"):
        asyncio.run(ask(prometheus, asked))


def test_a_pod_whose_scrapes_stopped_makes_the_interval_untrusted(
    prometheus: Prometheus, pods: tuple[Pod, Pod, Pod]
) -> None:
    since, until = now(), stored(prometheus, *pods) + timedelta(seconds=20)
    with pytest.raises(MetricsUnavailable, match=r"newest sample of pod canary-0 is \d+ s old"):
        asyncio.run(ask(prometheus, question(since, until)))


def test_a_pod_that_is_scraped_by_two_jobs_is_not_counted_double(
    start_prometheus: StartPrometheus, pods: tuple[Pod, Pod, Pod]
) -> None:
    jobs = [{"job_name": name, "static_configs": [pods[2].target]} for name in ("iris-inference", "pods")]
    twice = start_prometheus(jobs)
    since = now()
    await_scrapes(pods[2], more=6)
    until = now()
    with pytest.raises(MetricsUnavailable, match="pod canary-0 is scraped twice"):
        asyncio.run(ask(twice, question(since, until + timedelta(seconds=2), pods={CANARY: ("canary-0",)})))


def test_a_revision_that_nobody_scrapes_is_left_out(prometheus: Prometheus, pods: tuple[Pod, Pod, Pod]) -> None:
    since, until = now(), stored(prometheus, *pods)
    (answer,) = asyncio.run(ask(prometheus, question(since, until, pods={"cccccccccc": (), STABLE: ()})))
    assert list(answer.counts) == [STABLE]


def test_one_query_counts_a_whole_fleet(start_prometheus: StartPrometheus) -> None:
    fleet = [pod(f"{release}-0", STABLE, release) for release in (f"r{number}" for number in range(40))]
    with running(*fleet):
        prometheus = start_prometheus([{"job_name": "iris-inference", "static_configs": [p.target for p in fleet]}])
        counted = metrics(prometheus)
        asked: list[int] = []
        matrix = counted._client.matrix

        async def spy(query: str, at: float) -> Any:
            asked.append(len(query))
            return await matrix(query, at)

        counted._client.matrix = spy  # type: ignore[method-assign]  # what the server counts of itself it shows a scrape later
        stored(prometheus, *fleet)
        since = now()
        for number, each in enumerate(fleet):
            each.serve(number)
        until = stored(prometheus, *fleet)

        async def everybody(begin: datetime, end: datetime) -> list[Answer]:
            return await asyncio.gather(
                *(
                    counted.count(
                        question(
                            begin,
                            end,
                            release=each.labels["release"],
                            pods={STABLE: (each.labels["pod"],)},
                            again=end + timedelta(seconds=1),
                        )
                    )
                    for each in fleet
                )
            )

        async def twice() -> tuple[list[Answer], list[Answer]]:
            return await everybody(since, until), await everybody(until, until + timedelta(seconds=1))

        first, second = asyncio.run(twice())
    assert [answer.counts[STABLE].total for answer in first] == list(range(40))
    assert [answer.counts[STABLE].total for answer in second] == [0] * 40
    assert len(asked) == 2


def test_custom_queries_have_a_number_none_or_a_reason(prometheus: Prometheus, pods: tuple[Pod, Pod, Pod]) -> None:
    pods[2].serve(3)
    since, until = now(), stored(prometheus, *pods)
    asked = {
        "number": f'sum(inference_requests_total{{revision="{CANARY}"}})',
        "scalar": "vector(2)",
        "none": "sum(nothing_of_that_name)",
        "undefined": "vector(0) / vector(0)",
        "several": "inference_requests_total",
        "broken": "sum(",
    }
    (answer,) = asyncio.run(ask(prometheus, question(since, until, queries=asked)))
    told = dict(answer.custom)
    assert [told.pop(name) for name in ("number", "scalar", "none", "undefined")] == [3.0, 2.0, None, None]
    assert "must have one" in str(told.pop("several"))
    assert "Prometheus cannot answer" in str(told.pop("broken"))


def test_a_prometheus_that_is_gone_is_said_to_be(prometheus: Prometheus, pods: tuple[Pod, Pod, Pod]) -> None:
    since, until = now(), stored(prometheus, *pods)
    prometheus.server.stop()
    with pytest.raises(MetricsUnavailable, match="Prometheus cannot answer"):
        asyncio.run(ask(prometheus, question(since, until)))
