from __future__ import annotations

import math

from iris_operator.adapters.prometheus.client import Sample, Series
from iris_operator.adapters.prometheus.counters import Window
from iris_operator.adapters.prometheus.shadow import shadow_counts
from iris_operator.analysis.counts import ShadowCounts

CANARY, STABLE, CONTROL = "def456", "abc123", "abc123-control-def456"
SPAN = Window(since=10, until=20, max_age=30)


def series(name: str, *samples: Sample, pod: str = "a", **labels: str) -> Series:
    """`le_` and `class_` for labels that Python reserves or that would hide a name."""
    plain = {label.rstrip("_"): value for label, value in labels.items()}
    return Series({"__name__": name, "pod": pod, **plain}, samples)


def sent(result: str, *samples: Sample, canary: str = CANARY, pod: str = "a") -> Series:
    return series("shadow_copies_total", *samples, canary=canary, result=result, pod=pod)


def counted(canary: list[Series], stable: list[Series], window: Window) -> ShadowCounts:
    return shadow_counts(CANARY, "", {CANARY: canary, STABLE: stable}, window)


def test_responses_to_mirrored_requests_count_as_the_canarys() -> None:
    stables = [
        sent("answered", (8, 100), (18, 150)),
        sent("answered", (9, 0), (19, 30), pod="b"),
        sent("failed", (8, 0), (18, 3)),
        sent("timeout", (8, 1), (18, 3)),
        # These say nothing about the version.
        sent("dropped", (8, 0), (18, 500)),
        sent("refused", (8, 0), (18, 500)),
        sent("unreachable", (8, 0), (18, 500)),
    ]
    mirrored = counted([], stables, SPAN)
    assert mirrored.counts.by_code == {"200": 80, "500": 5}
    assert (mirrored.counts.total, mirrored.counts.server_errors) == (85, 5)


def test_requests_mirrored_to_an_earlier_canary_are_ignored() -> None:
    stables = [sent("failed", (8, 0), (18, 7), canary="789abc"), sent("answered", (8, 0), (18, 2))]
    assert counted([], stables, SPAN).counts.by_code == {"200": 2, "500": 0}


def test_a_counter_that_begins_with_the_shadow_config_began_at_0() -> None:
    stables = [series("inference_requests_total", (2, 1), (12, 2), code="200"), sent("answered", (14, 4), (18, 9))]
    assert counted([], stables, SPAN).counts.by_code["200"] == 9


def test_a_pod_that_changed_its_address_is_counted_on() -> None:
    stables = [
        series("inference_requests_total", (2, 1), (12, 2), code="200"),
        sent("answered", (8, 100), (12, 110)),
        Series({**sent("answered").labels, "instance": "10.0.0.2"}, ((14, 115), (18, 120))),
    ]
    assert counted([], stables, SPAN).counts.by_code["200"] == 20


def test_mirrored_requests_are_counted_for_each_cache_tier() -> None:
    buckets = [
        series("shadow_request_duration_seconds_bucket", (8, 0), (18, count), le_=bound, cache=tier, pod=pod)
        for tier, bound, count, pod in (
            ("none", "0.1", 4, "a"), ("none", "+Inf", 6, "a"), ("redis", "0.1", 2, "a"), ("redis", "+Inf", 2, "a"),
            ("redis", "0.1", 1, "b"), ("redis", "+Inf", 1, "b"),
        )
    ]  # fmt: skip
    counts = counted(buckets, [], SPAN).counts
    assert (counts.at_most, counts.timed) == ({0.1: 7, math.inf: 9}, 9)
    assert counts.cached == {"redis": {0.1: 3, math.inf: 3}}


def test_lost_mirrored_requests_are_reported_and_not_counted() -> None:
    mirrored = counted([], [sent("refused", (8, 0), (18, 5)), sent("answered", (8, 0), (18, 0))], SPAN)
    assert (mirrored.counts.total, mirrored.undelivered, mirrored.configured) == (0, {"refused": 5}, True)


def test_durations_and_predictions_are_those_that_the_canary_counts() -> None:
    theirs = [
        series("shadow_request_duration_seconds_bucket", (8, 0), (18, 7), le="0.25"),
        series("shadow_request_duration_seconds_bucket", (8, 0), (18, 9), le="+Inf"),
        series("shadow_inference_failures_total", (8, 0), (18, 1), reason="runtime_error"),
        series("shadow_inference_failures_total", (8, 0), (18, 1), reason="non_finite"),
        series("shadow_predictions_total", (8, 0), (18, 6), class_="setosa"),
        # Requests of users are counted separately.
        series("inference_request_duration_seconds_bucket", (8, 0), (18, 400), le="+Inf"),
    ]
    counts = counted(theirs, [], SPAN).counts
    assert (counts.at_most, counts.timed) == ({0.25: 7, float("inf"): 9}, 9)
    assert (counts.failures, counts.by_class) == (2, {"setosa": 6})


def test_durations_of_mirrored_requests_leave_out_the_warm_up_of_the_canarys_pods() -> None:
    theirs = [
        *(
            series("shadow_request_duration_seconds_bucket", (8, 0), (12, 5), (18, 9), le=bound, cache="none")
            for bound in ("0.25", "+Inf")
        ),
        series("shadow_request_duration_seconds_sum", (8, 0), (12, 2.5), (18, 3.25), cache="none"),
        series("shadow_predictions_total", (8, 0), (12, 5), (18, 9), class_="setosa"),
    ]
    window = Window(since=8, until=20, max_age=30, warm_since={"a": 11.0})
    counts = counted(theirs, [], window).counts
    assert (counts.at_most, counts.timed, counts.seconds) == ({0.25: 4, math.inf: 4}, 4, 0.75)
    assert counts.by_class == {"setosa": 9}
    assert counted(theirs, [], SPAN).counts.seconds == 3.25
    assert counted(theirs[:2], [], SPAN).counts.seconds is None


def test_pairs_and_labels_are_counted_by_which_version_was_right() -> None:
    stables = [
        series("shadow_pairs_total", (8, 0), (18, 90), canary=CANARY, result="same"),
        series("shadow_pairs_total", (8, 0), (18, 10), canary=CANARY, result="different"),
        *(
            series("shadow_labels_total", (8, 0), (18, count), canary=CANARY, result=result)
            for result, count in (("both", 50), ("only_stable", 9), ("only_canary", 4), ("neither", 2))
        ),
    ]
    mirrored = counted([], stables, SPAN)
    assert (mirrored.same, mirrored.different, mirrored.labels) == (90, 10, (50, 9, 4, 2))
    assert (mirrored.counts.correct, mirrored.counts.incorrect) == (54, 11)


def test_pods_without_the_shadow_metrics_have_no_mirrored_requests() -> None:
    mirrored = counted([series("inference_requests_total", (8, 1), (18, 2), code="200")], [], SPAN)
    assert (mirrored.counts.total, mirrored.counts.failures, mirrored.counts.by_class) == (0, None, None)
    assert not mirrored.configured


def test_both_arms_are_counted_by_what_the_senders_got_and_by_their_own_pods() -> None:
    def received(pod: str, count: int) -> list[Series]:
        return [
            series("shadow_requests_total", (8, 0), (18, count), code="200", pod=pod),
            series("shadow_requests_total", (8, 0), (18, 2), code="421", pod=pod),
            series("shadow_request_duration_seconds_bucket", (8, 0), (18, count), le="+Inf", pod=pod),
            series("shadow_request_duration_seconds_sum", (8, 0.0), (18, count / 100), pod=pod),
        ]

    stable = [
        sent("answered", (8, 0), (18, 50)),
        sent("answered", (8, 0), (18, 49), canary=CONTROL),
        sent("timeout", (8, 0), (18, 1), canary=CONTROL),
        sent("unreachable", (8, 0), (18, 3), canary=CONTROL),
        *(
            series("shadow_labels_total", (8, 0), (18, count), canary=CANARY, result=result)
            for result, count in (("both", 8), ("only_stable", 4), ("only_canary", 2), ("neither", 1))
        ),
    ]
    # The control group's pods have the same shadow config as stable's, and count for both targets as well.
    idle = [sent("answered", (8, 0), (18, 0), canary=target, pod="x") for target in (CANARY, CONTROL)]
    pods = {CANARY: received("c", 50), CONTROL: [*received("x", 20), *idle, *received("y", 30)], STABLE: stable}
    mirrored = shadow_counts(CANARY, CONTROL, pods, SPAN)
    assert mirrored.control is not None
    assert (mirrored.counts.by_code, mirrored.control.by_code) == ({"200": 50, "500": 0}, {"200": 49, "500": 1})
    assert (mirrored.counts.timed, mirrored.control.timed) == (50, 50)
    assert [(pod.total, pod.timed, pod.seconds) for pod in mirrored.control.pods] == [(20, 20, 0.2), (30, 30, 0.3)]
    assert (mirrored.counts.correct, mirrored.counts.incorrect) == (10, 5)
    # The answers of stable's pods to the same requests.
    assert (mirrored.control.correct, mirrored.control.incorrect) == (12, 3)
    assert mirrored.undelivered == {"unreachable by the control group": 3}


def test_without_a_control_group_there_are_no_counts_of_one() -> None:
    assert counted([], [sent("answered", (8, 0), (18, 5), canary=CONTROL)], SPAN).control is None
