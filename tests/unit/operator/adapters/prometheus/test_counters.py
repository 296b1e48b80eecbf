from __future__ import annotations

import math
from typing import Any

import pytest

from iris_operator.adapters.prometheus.client import Sample, Series, parse_matrix
from iris_operator.adapters.prometheus.counters import (
    LABELS_BY_METRIC,
    REQUEST_DURATION_BUCKETS,
    REQUEST_DURATION_SUM,
    Window,
    by_pod,
    counts_of,
    increase,
    scraped_through,
)
from iris_operator.analysis.counts import Bin, RequestCounts
from iris_operator.engine.ports import MetricsUnavailable
from iris_operator.metric_names import FEATURE_VALUES, REQUESTS


def series(*samples: Sample) -> list[Sample]:
    return list(samples)


def test_an_increase_is_counted_from_the_last_sample_before_the_interval() -> None:
    assert increase(series((8, 100), (10, 110), (12, 125), (14, 140)), since=10, until=12, pod_first_sample=8) == 15


def test_a_restarted_process_counts_from_0_again() -> None:
    assert increase(series((10, 110), (12, 4), (14, 9)), since=10, until=14, pod_first_sample=10) == 9


def test_a_label_first_seen_in_the_interval_began_at_0() -> None:
    assert increase(series((12, 3), (14, 5)), since=10, until=14, pod_first_sample=8) == 5


def test_what_a_pod_counted_before_its_first_scrape_is_unknown() -> None:
    assert increase(series((12, 300), (14, 305)), since=10, until=14, pod_first_sample=12) == 5


def test_an_interval_without_samples_has_no_increase() -> None:
    assert increase(series((8, 100), (9, 120)), since=10, until=14, pod_first_sample=8) == 0


@pytest.mark.parametrize(
    "wrong",
    [{"up_to": "wide"}, {"up_to": "NaN"}, {"training_share": "most"}, {"training_share": "1.1"}, {"up_to": None}],
    ids=str,
)
def test_unreadable_feature_bins_are_left_out_and_the_rest_is_counted(
    wrong: dict[str, str | None],
) -> None:
    bins = {"up_to": "1.5", "training_share": "0.4"}, {"up_to": "2.5", "training_share": "0.6"} | wrong
    labels: list[dict[str, str | None]] = [
        {"__name__": REQUESTS, "code": "200"},
        *({"__name__": FEATURE_VALUES, "feature": "petal_width", **of} for of in bins),
    ]
    both = [
        Series({"pod": "a", **{name: value for name, value in of.items() if value}}, [(10, 1), (12, 5)])
        for of in labels
    ]
    counts = counts_of(both, ["a"], Window(since=10, until=12, max_age=5))
    assert counts
    assert (counts.total, counts.features) == (4, {"petal_width": {Bin(1.5, 0.4): 4}})


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "many", None])
def test_a_value_that_is_no_count_is_rejected(value: Any) -> None:
    with pytest.raises(MetricsUnavailable):
        parse_matrix([{"metric": {}, "values": [[1, value]]}])


@pytest.mark.parametrize("answer", [[{"metric": {}}], "html", [1], [{"metric": {}, "value": [1, "2"]}]])
def test_a_result_that_is_no_matrix_is_rejected(answer: Any) -> None:
    with pytest.raises(MetricsUnavailable):
        parse_matrix(answer)


def durations(pod: str, bound: str, count: int, **labels: str) -> Series:
    return Series({"__name__": REQUEST_DURATION_BUCKETS, "pod": pod, "le": bound, **labels}, [(10, 0), (12, count)])


def counted(*found: Series) -> RequestCounts:
    requests = [Series({"__name__": REQUESTS, "pod": pod, "code": "200"}, [(10, 1), (12, 5)]) for pod in ("a", "b")]
    counts = counts_of([*requests, *found], ["a", "b"], Window(since=10, until=12, max_age=5))
    assert counts
    return counts


def test_requests_are_counted_for_each_cache_tier_and_in_total() -> None:
    counts = counted(
        *(durations("a", bound, 3, cache="local") for bound in ("0.1", "+Inf")),
        *(durations("b", bound, count, cache="none") for bound, count in (("0.1", 1), ("+Inf", 4))),
        *(durations("b", bound, 2, cache="local") for bound in ("0.1", "+Inf")),
    )
    assert (counts.at_most, counts.timed) == ({0.1: 6, math.inf: 9}, 9)
    assert counts.cached == {"local": {0.1: 5, math.inf: 5}}
    assert [pod.cached for pod in counts.pods] == [{"local": {0.1: 3, math.inf: 3}}, {"local": {0.1: 2, math.inf: 2}}]


def test_cached_requests_are_unknown_for_a_service_without_the_label() -> None:
    counts = counted(durations("a", "+Inf", 3, cache="none"), durations("b", "+Inf", 4))
    assert (counts.timed, counts.cached) == (7, None)


def pod_of(*samples: tuple[float, int], pod: str = "a") -> list[Series]:
    """A pod whose every request takes a second and a half: its requests and their durations at these moments."""
    return [
        Series({"__name__": REQUESTS, "pod": pod, "code": "200"}, samples),
        *(
            Series({"__name__": REQUEST_DURATION_BUCKETS, "pod": pod, "le": bound, "cache": tier}, values)
            for tier, values in (("none", samples), ("local", [(moment, 0) for moment, _ in samples]))
            for bound in ("2", "+Inf")
        ),
        Series(
            {"__name__": REQUEST_DURATION_SUM, "pod": pod, "cache": "none"},
            [(moment, 1.5 * count) for moment, count in samples],
        ),
        Series(
            {"__name__": REQUEST_DURATION_SUM, "pod": pod, "cache": "local"}, [(moment, 0) for moment, _ in samples]
        ),
    ]


def counts_between(found: list[Series], since: float, until: float, **warm: float) -> RequestCounts:
    counts = counts_of(found, (), Window(since, until, max_age=5, warm_since=warm))
    assert counts
    return counts


def durations_of(counts: RequestCounts) -> tuple[int, int, float | None, int]:
    """Durations by the histogram's bound, its total, their sum, and how many of them came from the cache."""
    assert counts.cached is not None
    return counts.at_most[2.0], counts.timed, counts.seconds, counts.cached["local"][math.inf]


def test_the_sum_of_durations_is_no_whole_number() -> None:
    counts = counts_between(pod_of((10, 1), (12, 4)) + pod_of((10, 0), (12, 2), pod="b"), since=10, until=12)
    assert [pod.seconds for pod in counts.pods] == [4.5, 3.0]
    assert counts.seconds == 7.5


def test_the_sum_of_durations_of_a_restarted_process_continues_from_0() -> None:
    assert counts_between(pod_of((10, 8), (12, 10), (14, 3)), since=10, until=14).seconds == 1.5 * 5


def test_the_sum_of_durations_is_unknown_when_a_pod_lacks_it() -> None:
    without = [one for one in pod_of((10, 0), (12, 2), pod="b") if one.labels["__name__"] != REQUEST_DURATION_SUM]
    counts = counts_between(pod_of((10, 1), (12, 4)) + without, since=10, until=12)
    assert (counts.timed, counts.seconds) == (5, None)


def test_durations_of_a_pod_that_warms_up_are_left_out_and_its_requests_are_not() -> None:
    counts = counts_between(pod_of((10, 0), (12, 5), (14, 9), (16, 10)), since=10, until=16, a=13)
    assert counts.total == 10
    assert durations_of(counts) == (1, 1, 1.5, 0)


def test_durations_count_from_the_first_sample_of_a_warm_pod_whatever_the_interval_begins_with() -> None:
    # Between the samples at 12 and 16 the pod answered both cold and warm: nobody knows how often.
    found = pod_of((12, 5), (16, 10), (20, 12))
    assert durations_of(counts_between(found, since=14, until=20, a=13)) == (2, 2, 3.0, 0)
    assert durations_of(counts_between(found, since=12, until=14, a=13)) == (0, 0, 0.0, 0)
    assert counts_between(found, since=14, until=20, a=13).total == 7


def test_warm_up_is_each_pods_own() -> None:
    counts = counts_between(
        pod_of((10, 0), (12, 5), (14, 9)) + pod_of((10, 0), (12, 2), (14, 3), pod="b"), 10, 14, a=12, b=1
    )
    assert [durations_of(pod)[:3] for pod in counts.pods] == [(4, 4, 6.0), (3, 3, 4.5)]


def test_pods_that_are_gone_warm_up_from_the_start_of_the_traffic_on() -> None:
    found = pod_of((10, 0), (12, 5), (14, 9), pod="gone")
    counts = counts_of(found, (), Window(10, 14, max_age=5, warm_since={"a": 1.0}, others_warm_since=12.0))
    assert counts
    assert (counts.total, *durations_of(counts)[:2]) == (9, 4, 4)


def test_a_tier_that_first_answers_after_the_warm_up_began_at_0() -> None:
    found = [
        *(one for one in pod_of((10, 0), (12, 5), (14, 9), (16, 12)) if one.labels.get("cache") != "local"),
        Series({"__name__": REQUEST_DURATION_BUCKETS, "pod": "a", "le": "+Inf", "cache": "local"}, [(16, 3)]),
    ]
    counts = counts_between(found, since=10, until=16, a=13)
    assert counts.cached == {"local": {math.inf: 3}}


def test_an_interval_that_ends_with_the_last_common_sample_loses_nothing() -> None:
    found = pod_of((10, 0), (15, 5), (20, 9)) + pod_of((8, 0), (13, 2), (18, 4), (23, 9), pod="b")
    window = Window(since=8, until=20, max_age=30)
    end = scraped_through(by_pod(found, LABELS_BY_METRIC), ["a", "b"], window)
    assert end == 18
    parts = [counts_between(found, since, until).total for since, until in ((8, end), (end, 20), (20, 23))]
    assert (parts, sum(parts)) == ([5 + 4, 4, 5], 9 + 9)


def test_pods_that_were_not_scraped_since_end_the_interval_where_it_began() -> None:
    pods = by_pod(pod_of((10, 0), (15, 5)) + pod_of((12, 0), (17, 4), pod="b"), LABELS_BY_METRIC)
    assert scraped_through(pods, ["a", "b"], Window(since=16, until=19, max_age=30)) == 16
    assert scraped_through(pods, [], Window(since=16, until=19, max_age=30)) == 19


@pytest.mark.parametrize("expected", ["c", "a"], ids=["never scraped", "scraped long ago"])
def test_a_pod_that_must_have_been_scraped_and_was_not_is_an_error(expected: str) -> None:
    pods = by_pod(pod_of((10, 0), (15, 5)), LABELS_BY_METRIC)
    with pytest.raises(MetricsUnavailable, match=f"pod {expected}"):
        scraped_through(pods, [expected], Window(since=10, until=21, max_age=5))


def test_histograms_of_different_bounds_are_summed_where_both_have_them() -> None:
    counts = counted(
        *(durations("a", bound, count, cache="none") for bound, count in (("0.1", 5), ("0.2", 6), ("+Inf", 8))),
        *(durations("b", bound, count, cache="none") for bound, count in (("0.1", 7), ("+Inf", 9))),
    )
    assert counts.at_most == {0.1: 12, math.inf: 17}
