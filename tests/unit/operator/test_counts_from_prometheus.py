from __future__ import annotations

import math
from typing import Any

import pytest

from iris_operator.adapters.prometheus.client import Sample, Series, parse_matrix
from iris_operator.adapters.prometheus.counters import DURATIONS, FEATURES, REQUESTS, Span, counts_of, grown
from iris_operator.analysis.counts import Bin, RequestCounts
from iris_operator.engine.ports import MetricsUnavailable


def series(*samples: Sample) -> list[Sample]:
    return list(samples)


def test_growth_is_counted_from_the_last_sample_before_the_interval() -> None:
    assert grown(series((8, 100), (10, 110), (12, 125), (14, 140)), since=10, until=12, pod_seen=8) == 15


def test_a_restarted_process_counts_from_0_again() -> None:
    assert grown(series((10, 110), (12, 4), (14, 9)), since=10, until=14, pod_seen=10) == 9


def test_a_label_first_seen_in_the_interval_began_at_0() -> None:
    assert grown(series((12, 3), (14, 5)), since=10, until=14, pod_seen=8) == 5


def test_what_a_pod_counted_before_its_first_scrape_is_not_known() -> None:
    assert grown(series((12, 300), (14, 305)), since=10, until=14, pod_seen=12) == 5


def test_an_interval_without_samples_has_no_growth() -> None:
    assert grown(series((8, 100), (9, 120)), since=10, until=14, pod_seen=8) == 0


@pytest.mark.parametrize(
    "wrong",
    [{"up_to": "wide"}, {"up_to": "NaN"}, {"training_share": "most"}, {"training_share": "1.1"}, {"up_to": None}],
    ids=str,
)
def test_bins_of_features_that_cannot_be_read_are_left_out_and_the_rest_is_counted(
    wrong: dict[str, str | None],
) -> None:
    bins = {"up_to": "1.5", "training_share": "0.4"}, {"up_to": "2.5", "training_share": "0.6"} | wrong
    labels: list[dict[str, str | None]] = [
        {"__name__": REQUESTS, "code": "200"},
        *({"__name__": FEATURES, "feature": "petal_width", **of} for of in bins),
    ]
    both = [
        Series({"pod": "a", **{name: value for name, value in of.items() if value}}, [(10, 1), (12, 5)])
        for of in labels
    ]
    counts = counts_of(both, ["a"], Span(since=10, until=12, max_age=5))
    assert counts
    assert (counts.total, counts.features) == (4, {"petal_width": {Bin(1.5, 0.4): 4}})


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "many", None])
def test_a_value_that_is_no_count_is_refused(value: Any) -> None:
    with pytest.raises(MetricsUnavailable):
        parse_matrix([{"metric": {}, "values": [[1, value]]}])


@pytest.mark.parametrize("answer", [[{"metric": {}}], "html", [1], [{"metric": {}, "value": [1, "2"]}]])
def test_an_answer_that_is_no_matrix_is_refused(answer: Any) -> None:
    with pytest.raises(MetricsUnavailable):
        parse_matrix(answer)


def durations(pod: str, bound: str, count: int, **labels: str) -> Series:
    return Series({"__name__": DURATIONS, "pod": pod, "le": bound, **labels}, [(10, 0), (12, count)])


def counted(*found: Series) -> RequestCounts:
    requests = [Series({"__name__": REQUESTS, "pod": pod, "code": "200"}, [(10, 1), (12, 5)]) for pod in ("a", "b")]
    counts = counts_of([*requests, *found], ["a", "b"], Span(since=10, until=12, max_age=5))
    assert counts
    return counts


def test_what_each_tier_of_the_cache_answered_is_counted_beside_all_that_was_answered() -> None:
    counts = counted(
        *(durations("a", bound, 3, cache="local") for bound in ("0.1", "+Inf")),
        *(durations("b", bound, count, cache="none") for bound, count in (("0.1", 1), ("+Inf", 4))),
        *(durations("b", bound, 2, cache="local") for bound in ("0.1", "+Inf")),
    )
    assert (counts.at_most, counts.timed) == ({0.1: 6, math.inf: 9}, 9)
    assert counts.cached == {"local": {0.1: 5, math.inf: 5}}
    assert [pod.cached for pod in counts.pods] == [{"local": {0.1: 3, math.inf: 3}}, {"local": {0.1: 2, math.inf: 2}}]


def test_of_a_service_that_does_not_tell_it_is_not_known_what_its_cache_answered() -> None:
    counts = counted(durations("a", "+Inf", 3, cache="none"), durations("b", "+Inf", 4))
    assert (counts.timed, counts.cached) == (7, None)
