"""What the operator counts, from pages of counters through a real Prometheus."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from integration.harness.fixtures import StartPrometheus
from integration.harness.prometheus import Prometheus
from integration.operator.pods import PETALS, Pod, await_scrapes, running
from iris_inference.artifact import Distribution
from iris_inference.counters import FeatureHistogram
from iris_inference.schemas import FEATURES
from iris_inference.telemetry import FEATURE_BUCKETS
from iris_operator.adapters.prometheus.client import PrometheusClient
from iris_operator.adapters.prometheus.fleet import FleetMetrics
from iris_operator.analysis.checks import feature_drift
from iris_operator.analysis.counts import Bin, Interval
from iris_operator.engine.ports import Answer, MetricsUnavailable, Question
from iris_training.dataset import iris
from iris_training.distribution import describe

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
    other.serve(50, slow=5, cached=30)
    canary.serve(20, errors=4, wrong=3)
    between = stored(prometheus, *pods)
    one.serve(7)
    until = stored(prometheus, *pods)

    first = asyncio.run(ask(prometheus, question(since, between)))
    second = asyncio.run(ask(prometheus, question(between, until)))
    stable, seen = first[0].counts[STABLE], first[0].counts[CANARY]
    assert (stable.total, stable.server_errors, stable.timed, stable.at_most[0.01]) == (150, 1, 150, 145)
    assert stable.cached == {"local": {0.01: 30, 0.1: 30, math.inf: 30}}
    assert sorted(each.total for each in stable.pods) == [50, 100]
    assert (seen.total, seen.server_errors, seen.failures, seen.correct, seen.incorrect) == (20, 4, 4, 13, 3)
    assert seen.by_class == {"setosa": 16, "virginica": 0}
    assert second[0].counts[STABLE].total == 7
    assert second[0].counts[CANARY].total == 0


def test_labels_count_for_the_version_that_predicted_whichever_pod_they_came_to(
    prometheus: Prometheus, pods: tuple[Pod, Pod, Pod]
) -> None:
    one, other, canary = pods
    since = stored(prometheus, *pods)
    canary.serve(10, wrong=1)
    one.serve(10)
    one.relay(CANARY, correct=8, incorrect=2)
    other.relay(CANARY, correct=5)
    canary.relay(STABLE, incorrect=3)
    until = stored(prometheus, *pods)

    (answer,) = asyncio.run(ask(prometheus, question(since, until)))
    counts = {revision: (of.correct, of.incorrect) for revision, of in answer.counts.items()}
    assert counts == {STABLE: (10, 3), CANARY: (9 + 8 + 5, 1 + 2)}


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


def test_values_of_features_are_counted_by_bin_of_the_training_data_also_over_a_restart(
    prometheus: Prometheus, pods: tuple[Pod, Pod, Pod]
) -> None:
    one, other, canary = pods
    for each in pods:
        each.serve(1000)  # before the interval
    since = stored(prometheus, *pods)
    one.serve(100, huge=10)
    other.serve(50)
    canary.serve(30)
    stored(prometheus, *pods)
    canary.restart()
    canary.serve(12, huge=12)
    until = stored(prometheus, *pods)

    (answer,) = asyncio.run(ask(prometheus, question(since, until)))
    short, usual, huge = Bin(1.5, 0.4), Bin(7.0, 0.6), Bin(math.inf, 0.0)
    assert answer.counts[STABLE].features == {"petal_length": {short: 140, usual: 0, huge: 10}}
    assert answer.counts[CANARY].features == {"petal_length": {short: 30, usual: 0, huge: 12}}


def test_values_of_features_are_not_known_of_a_revision_when_a_pod_of_it_does_not_count_them(
    start_prometheus: StartPrometheus,
) -> None:
    one, other, canary = mixed = pod("stable-0", STABLE), pod("stable-1", STABLE), pod("canary-0", CANARY)
    for label in PETALS:
        del one.counters[label]
    with running(*mixed):
        prometheus = start_prometheus([{"job_name": "iris-inference", "static_configs": [p.target for p in mixed]}])
        since = stored(prometheus, *mixed)
        other.serve(50)
        canary.serve(12)
        until = stored(prometheus, other, canary)
        (answer,) = asyncio.run(ask(prometheus, question(since, until)))
    assert (answer.counts[STABLE].total, answer.counts[STABLE].features) == (50, None)
    assert answer.counts[CANARY].features


def test_what_training_wrote_down_and_the_service_counted_is_reported(start_prometheus: StartPrometheus) -> None:
    flowers = iris().features
    training = {
        name: Distribution.model_validate_json(json.dumps(describe(column)))
        for name, column in zip(FEATURES, flowers.T, strict=True)
    }
    served, registry = FeatureHistogram(FEATURES, FEATURE_BUCKETS, training), CollectorRegistry()
    registry.register(served)
    canary = pod("canary-0", CANARY)
    for label in PETALS:
        del canary.counters[label]
    canary.more = lambda: generate_latest(registry).decode()

    def reported(prometheus: Prometheus, instances: Sequence[Sequence[float]], since: datetime) -> str:
        served.observe(instances)
        canary.serve(len(instances))
        until = stored(prometheus, canary)
        (answer,) = asyncio.run(ask(prometheus, question(since, until, pods={CANARY: ("canary-0",)})))
        interval = Interval(answer.counts[CANARY], None)
        return feature_drift.report_features(feature_drift.add_values({}, interval), interval).reason

    with running(canary):
        prometheus = start_prometheus([{"job_name": "iris-inference", "static_configs": [canary.target]}])
        since = stored(prometheus, canary)
        alike = reported(prometheus, flowers.tolist(), since)
        setosa = reported(prometheus, flowers[:50].tolist(), now())
    assert alike.startswith("the requests look like the training data")
    assert "of 150 values" in alike
    assert "petal_length has 74 % of 50 values between 0.705 and 1.55, 25 % in training" in setosa


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
