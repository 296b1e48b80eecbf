"""What the operator counts, from pages of counters through a real Prometheus."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from iris_inference.api.schemas import FEATURES
from iris_inference.metrics.collectors import FeatureHistogram
from iris_inference.metrics.registry import FEATURE_BUCKETS
from iris_inference.model.artifact import Distribution
from iris_operator.adapters.prometheus.client import PrometheusClient
from iris_operator.adapters.prometheus.fleet import FleetMetrics
from iris_operator.analysis.check import Totals
from iris_operator.analysis.checks import feature_drift
from iris_operator.analysis.counts import Bin, Interval
from iris_operator.engine.ports import MetricsQuery, MetricsResult, MetricsUnavailable
from iris_training.dataset import load_dataset
from iris_training.distribution import bin_values
from support.operator.pods import FAST, PETALS, SLOW, Pod, await_scrapes, running
from support.servers.fixtures import StartPrometheus
from support.servers.prometheus import Prometheus
from support.waiting import eventually

STABLE, CANARY = "aaaaaaaaaa", "bbbbbbbbbb"
INTERVAL = timedelta(seconds=10)
# Scrapes may fail on a busy machine.
STORED_SECONDS = 60


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
    return start_prometheus([{"job_name": "iris-inference", "static_configs": [each.target for each in pods]}])


@pytest.fixture
def since(prometheus: Prometheus, pods: tuple[Pod, Pod, Pod]) -> datetime:
    """Where an interval begins that has all that the pods count in the test."""
    return stored(prometheus, *pods)


def metrics(prometheus: Prometheus) -> FleetMetrics:
    client = PrometheusClient(prometheus.url, timeout_seconds=5)
    return FleetMetrics(client, look_back_seconds=30, max_age_seconds=5)


def now() -> datetime:
    return datetime.now(UTC)


def question(since: datetime, until: datetime, **changes: Any) -> MetricsQuery:
    pods = {CANARY: ("canary-0",), STABLE: ("stable-0", "stable-1")}
    asked: dict[str, Any] = {"namespace": "iris", "release": "iris", "expected_pods": pods, **changes}
    return MetricsQuery(since=since, until=until, **{"next_until": until + INTERVAL, **asked})


def stored(prometheus: Prometheus, *pods: Pod) -> datetime:
    """A moment up to which Prometheus has what these pods counted so far, and nothing of what they count from now on.

    A sample carries the time at which its scrape began, and shows what the pod counted until it answered. So that what
    is counted next is in no sample of before that moment, the scrapes that had begun by then are waited for. An
    interval ends with the newest sample of the pod that was scraped first; so that the others have one of before that,
    each is scraped twice.
    """
    await_samples_after(now(), prometheus, *pods)
    await_samples_after(now(), prometheus, *pods)
    moment = now()
    await_samples_after(moment, prometheus, *pods)
    return moment


def await_samples_after(moment: datetime, prometheus: Prometheus, *pods: Pod) -> None:
    """Until Prometheus has of each a scrape that began after that, and so all that began before: they take turns."""
    client = PrometheusClient(prometheus.url, timeout_seconds=5)
    names = "|".join(pod.labels["pod"] for pod in pods)
    newest = f'timestamp(inference_requests_total{{pod=~"{names}"}})'
    later = f"count(count by (pod) ({newest} > {moment.timestamp()}))"
    eventually(lambda: asyncio.run(client.number(later, now().timestamp())) == len(pods), STORED_SECONDS)


async def ask(prometheus: Prometheus, *questions: MetricsQuery) -> list[MetricsResult]:
    fleet = metrics(prometheus)
    return await asyncio.gather(*(fleet.count(each) for each in questions))


def test_every_request_is_counted_once_and_by_pod(
    prometheus: Prometheus, pods: tuple[Pod, Pod, Pod], since: datetime
) -> None:
    one, other, canary = pods
    one.serve(100, errors=1)
    other.serve(50, slow=5, cached=30)
    canary.serve(20, errors=4, wrong=3)
    between = stored(prometheus, *pods)
    one.serve(7)
    until = stored(prometheus, *pods)

    first = asyncio.run(ask(prometheus, question(since, between)))
    assert first[0].until is not None
    second = asyncio.run(ask(prometheus, question(first[0].until, until)))
    stable, seen = first[0].counts[STABLE], first[0].counts[CANARY]
    assert (stable.total, stable.server_errors, stable.timed, stable.at_most[0.01]) == (150, 1, 150, 145)
    assert (stable.seconds, seen.seconds) == (145 * FAST + 5 * SLOW, 20 * FAST)
    assert stable.cached == {"local": {0.01: 30, 0.1: 30, math.inf: 30}}
    assert sorted(each.total for each in stable.pods) == [50, 100]
    assert (seen.total, seen.server_errors, seen.failures, seen.correct, seen.incorrect) == (20, 4, 4, 13, 3)
    assert seen.by_class == {"setosa": 16, "virginica": 0}
    assert second[0].counts[STABLE].total == 7
    assert second[0].counts[CANARY].total == 0


def test_a_service_that_is_never_idle_is_counted_once_although_its_pods_are_scraped_at_different_moments(
    prometheus: Prometheus, pods: tuple[Pod, Pod, Pod], since: datetime
) -> None:
    metric, begin, counted = metrics(prometheus), since, dict.fromkeys((STABLE, CANARY), 0)
    ends: list[datetime] = []
    for number in range(40):
        pods[number % 3].serve(number)
        time.sleep(0.1)
        if number % 7 == 6:
            # No scrape that began a second ago is still under way.
            counted, begin = count_on(metric, begin, now() - timedelta(seconds=1), counted)
            ends.append(begin)
    until = stored(prometheus, *pods)
    counted, _ = count_on(metric, begin, until, counted)
    served = [sum(range(arm, 40, 3)) for arm in range(3)]
    assert counted == {STABLE: served[0] + served[1], CANARY: served[2]}
    assert ends == sorted(ends)
    assert len(set(ends)) > 2


def count_on(
    metric: FleetMetrics, since: datetime, until: datetime, counted: dict[str, int]
) -> tuple[dict[str, int], datetime]:
    """The totals with those of one more interval, and its end."""
    answer = asyncio.run(metric.count(question(since, until)))
    assert answer.until is not None
    assert since <= answer.until <= until
    return {revision: counted[revision] + of.total for revision, of in answer.counts.items()}, answer.until


def test_durations_of_a_warm_up_are_left_out_and_all_else_is_counted(
    prometheus: Prometheus, pods: tuple[Pod, Pod, Pod], since: datetime
) -> None:
    one, other, canary = pods
    one.serve(10)
    canary.serve(20, errors=2, slow=20)
    warm = stored(prometheus, *pods)
    other.serve(5)
    canary.serve(8, errors=1, slow=2, cached=3)
    until = stored(prometheus, *pods)

    (answer,) = asyncio.run(ask(prometheus, question(since, until, warm_since={"canary-0": warm})))
    stable, seen = answer.counts[STABLE], answer.counts[CANARY]
    assert (stable.total, stable.timed, stable.seconds) == (15, 15, 15 * FAST)
    assert (seen.total, seen.server_errors, seen.failures, seen.by_class) == (
        28, 3, 3, {"setosa": 25, "virginica": 0},
    )  # fmt: skip
    assert (seen.at_most, seen.timed, seen.seconds) == ({0.01: 6, 0.1: 8, math.inf: 8}, 8, 6 * FAST + 2 * SLOW)
    assert seen.cached == {"local": {0.01: 3, 0.1: 3, math.inf: 3}}


def test_labels_count_for_the_version_that_predicted_whichever_pod_they_came_to(
    prometheus: Prometheus, pods: tuple[Pod, Pod, Pod], since: datetime
) -> None:
    one, other, canary = pods
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
    assert plain.shadow is None
    (copied,) = asyncio.run(ask(prometheus, question(since, until, shadow_revision=CANARY)))
    assert copied.counts[STABLE].total == 100
    copies = copied.shadow
    assert copies is not None
    assert copies.counts.by_code == {"200": 30, "500": 3}
    assert (copies.same, copies.different, copies.undelivered) == (18, 2, {"refused": 4})
    assert copies.labels == (5, 5, 1, 1)
    assert (copies.counts.correct, copies.counts.incorrect) == (6, 6)


def test_a_restarted_process_loses_nothing_that_was_scraped(
    prometheus: Prometheus, pods: tuple[Pod, Pod, Pod], since: datetime
) -> None:
    canary = pods[2]
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
    flowers = load_dataset().features
    training = {
        name: Distribution.model_validate_json(json.dumps(bin_values(column)))
        for name, column in zip(FEATURES, flowers.T, strict=True)
    }
    served, registry = FeatureHistogram(FEATURES, FEATURE_BUCKETS, training), CollectorRegistry()
    registry.register(served)
    canary = pod("canary-0", CANARY)
    for label in PETALS:
        del canary.counters[label]
    canary.more = lambda: generate_latest(registry).decode()

    def reported(prometheus: Prometheus, instances: Sequence[Sequence[float]], since: datetime) -> tuple[str, datetime]:
        """The report on an interval, and where the interval ends."""
        served.observe(instances)
        canary.serve(len(instances))
        until = stored(prometheus, canary)
        (answer,) = asyncio.run(ask(prometheus, question(since, until, expected_pods={CANARY: ("canary-0",)})))
        interval = Interval(answer.counts[CANARY], None)
        return feature_drift.report_features(
            feature_drift.add_values(Totals(), interval, False), interval
        ).reason, until

    with running(canary):
        prometheus = start_prometheus([{"job_name": "iris-inference", "static_configs": [canary.target]}])
        since = stored(prometheus, canary)
        alike, since = reported(prometheus, flowers.tolist(), since)
        setosa, _ = reported(prometheus, flowers[:50].tolist(), since)
    assert alike.startswith("the requests look like the training data")
    assert "of 150 values" in alike
    assert "petal_length has 74 % of 50 values between 0.705 and 1.55, 25 % in training" in setosa


def test_a_pod_that_is_ready_and_not_scraped_makes_the_interval_untrusted(
    prometheus: Prometheus, pods: tuple[Pod, Pod, Pod], since: datetime
) -> None:
    until = stored(prometheus, *pods)
    asked = question(since, until, expected_pods={CANARY: ("canary-0", "canary-1"), STABLE: ()})
    with pytest.raises(MetricsUnavailable, match="no requests of pod canary-1"):
        asyncio.run(ask(prometheus, asked))


def test_a_pod_whose_scrapes_stopped_makes_the_interval_untrusted(
    prometheus: Prometheus, pods: tuple[Pod, Pod, Pod], since: datetime
) -> None:
    until = stored(prometheus, *pods) + timedelta(seconds=20)
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
        asyncio.run(ask(twice, question(since, until + timedelta(seconds=2), expected_pods={CANARY: ("canary-0",)})))


def test_a_revision_that_nobody_scrapes_is_left_out(
    prometheus: Prometheus, pods: tuple[Pod, Pod, Pod], since: datetime
) -> None:
    until = stored(prometheus, *pods)
    (answer,) = asyncio.run(ask(prometheus, question(since, until, expected_pods={"cccccccccc": (), STABLE: ()})))
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
        since = stored(prometheus, *fleet)
        for number, each in enumerate(fleet):
            each.serve(number)
        until = stored(prometheus, *fleet)

        async def everybody(begin: datetime, end: datetime) -> list[MetricsResult]:
            return await asyncio.gather(
                *(
                    counted.count(
                        question(
                            begin,
                            end,
                            release=each.labels["release"],
                            expected_pods={STABLE: (each.labels["pod"],)},
                            next_until=end + timedelta(seconds=1),
                        )
                    )
                    for each in fleet
                )
            )

        async def twice() -> tuple[list[MetricsResult], list[MetricsResult]]:
            return await everybody(since, until), await everybody(until, until + timedelta(seconds=1))

        first, second = asyncio.run(twice())
    assert [answer.counts[STABLE].total for answer in first] == list(range(40))
    assert [answer.counts[STABLE].total for answer in second] == [0] * 40
    assert len(asked) == 2


def test_custom_queries_have_a_number_none_or_a_reason(
    prometheus: Prometheus, pods: tuple[Pod, Pod, Pod], since: datetime
) -> None:
    pods[2].serve(3)
    until = stored(prometheus, *pods)
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


def test_a_prometheus_that_is_gone_is_said_to_be(
    prometheus: Prometheus, pods: tuple[Pod, Pod, Pod], since: datetime
) -> None:
    until = stored(prometheus, *pods)
    prometheus.server.stop()
    with pytest.raises(MetricsUnavailable, match="Prometheus cannot answer"):
        asyncio.run(ask(prometheus, question(since, until)))
