from __future__ import annotations

import math

from iris_operator.adapters.prometheus.client import Sample, Series
from iris_operator.adapters.prometheus.copies import copies_of
from iris_operator.adapters.prometheus.counters import Span

CANARY = "def456"
SPAN = Span(since=10, until=20, max_age=30)


def series(name: str, *samples: Sample, pod: str = "a", **labels: str) -> Series:
    """`le_` and `class_` for labels that Python reserves or that would hide a name."""
    plain = {label.rstrip("_"): value for label, value in labels.items()}
    return Series({"__name__": name, "pod": pod, **plain}, samples)


def sent(result: str, *samples: Sample, canary: str = CANARY, pod: str = "a") -> Series:
    return series("shadow_copies_total", *samples, canary=canary, result=result, pod=pod)


def test_what_stable_s_pods_got_for_their_copies_is_what_the_canary_answered() -> None:
    stables = [
        sent("answered", (8, 100), (18, 150)),
        sent("answered", (9, 0), (19, 30), pod="b"),
        sent("failed", (8, 0), (18, 3)),
        sent("timeout", (8, 1), (18, 3)),
        # These are no news about the version.
        sent("dropped", (8, 0), (18, 500)),
        sent("refused", (8, 0), (18, 500)),
        sent("unreachable", (8, 0), (18, 500)),
    ]
    copies = copies_of(CANARY, [], stables, SPAN)
    assert copies.counts.by_code == {"200": 80, "500": 5}
    assert (copies.counts.total, copies.counts.server_errors) == (85, 5)


def test_what_was_copied_to_an_earlier_canary_is_no_news_about_this_one() -> None:
    stables = [sent("failed", (8, 0), (18, 7), canary="789abc"), sent("answered", (8, 0), (18, 2))]
    assert copies_of(CANARY, [], stables, SPAN).counts.by_code == {"200": 2, "500": 0}


def test_a_counter_that_begins_with_the_plan_began_at_0() -> None:
    stables = [series("inference_requests_total", (2, 1), (12, 2), code="200"), sent("answered", (14, 4), (18, 9))]
    assert copies_of(CANARY, [], stables, SPAN).counts.by_code["200"] == 9


def test_a_pod_that_came_back_under_another_address_is_counted_on() -> None:
    stables = [
        series("inference_requests_total", (2, 1), (12, 2), code="200"),
        sent("answered", (8, 100), (12, 110)),
        Series({**sent("answered").labels, "instance": "10.0.0.2"}, ((14, 115), (18, 120))),
    ]
    assert copies_of(CANARY, [], stables, SPAN).counts.by_code["200"] == 20


def test_what_the_canarys_cache_answered_of_them_is_told_apart() -> None:
    buckets = [
        series("shadow_request_duration_seconds_bucket", (8, 0), (18, count), le_=bound, cache=tier, pod=pod)
        for tier, bound, count, pod in (
            ("none", "0.1", 4, "a"), ("none", "+Inf", 6, "a"), ("redis", "0.1", 2, "a"), ("redis", "+Inf", 2, "a"),
            ("redis", "0.1", 1, "b"), ("redis", "+Inf", 1, "b"),
        )
    ]  # fmt: skip
    counts = copies_of(CANARY, buckets, [], SPAN).counts
    assert (counts.at_most, counts.timed) == ({0.1: 7, math.inf: 9}, 9)
    assert counts.cached == {"redis": {0.1: 3, math.inf: 3}}


def test_copies_that_the_canary_did_not_get_are_told_and_not_counted() -> None:
    copies = copies_of(CANARY, [], [sent("refused", (8, 0), (18, 5)), sent("answered", (8, 0), (18, 0))], SPAN)
    assert (copies.counts.total, copies.lost, copies.planned) == (0, {"refused": 5}, True)


def test_how_long_it_took_and_what_was_predicted_is_counted_by_the_canary() -> None:
    theirs = [
        series("shadow_request_duration_seconds_bucket", (8, 0), (18, 7), le="0.25"),
        series("shadow_request_duration_seconds_bucket", (8, 0), (18, 9), le="+Inf"),
        series("shadow_inference_failures_total", (8, 0), (18, 1), reason="runtime_error"),
        series("shadow_inference_failures_total", (8, 0), (18, 1), reason="non_finite"),
        series("shadow_predictions_total", (8, 0), (18, 6), class_="setosa"),
        # Users' requests are counted apart.
        series("inference_request_duration_seconds_bucket", (8, 0), (18, 400), le="+Inf"),
    ]
    counts = copies_of(CANARY, theirs, [], SPAN).counts
    assert (counts.at_most, counts.timed) == ({0.25: 7, float("inf"): 9}, 9)
    assert (counts.failures, counts.by_class) == (2, {"setosa": 6})


def test_pairs_and_labels_are_told_apart_by_who_was_right() -> None:
    stables = [
        series("shadow_pairs_total", (8, 0), (18, 90), canary=CANARY, result="same"),
        series("shadow_pairs_total", (8, 0), (18, 10), canary=CANARY, result="different"),
        *(
            series("shadow_labels_total", (8, 0), (18, count), canary=CANARY, result=result)
            for result, count in (("both", 50), ("only_stable", 9), ("only_canary", 4), ("neither", 2))
        ),
    ]
    copies = copies_of(CANARY, [], stables, SPAN)
    assert (copies.same, copies.different, copies.labels) == (90, 10, (50, 9, 4, 2))
    assert (copies.counts.correct, copies.counts.incorrect) == (54, 11)


def test_pods_that_know_nothing_of_copies_have_none() -> None:
    copies = copies_of(CANARY, [series("inference_requests_total", (8, 1), (18, 2), code="200")], [], SPAN)
    assert (copies.counts.total, copies.counts.failures, copies.counts.by_class) == (0, None, None)
    assert not copies.planned
