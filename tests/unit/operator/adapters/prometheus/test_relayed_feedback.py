from __future__ import annotations

from iris_operator.adapters.prometheus.client import Sample, Series
from iris_operator.adapters.prometheus.counters import Window
from iris_operator.adapters.prometheus.relayed_feedback import with_relayed
from iris_operator.analysis.counts import RequestCounts
from iris_operator.metric_names import REQUESTS

STABLE, CANARY = "abc123", "def456"
CONTROL = "abc123-control-def456"
SPAN = Window(since=10, until=20, max_age=30)
OWN = RequestCounts(by_code={"200": 90}, correct=4, incorrect=1, pods=(RequestCounts(correct=4, incorrect=1),))


def relayed(made_by: str, outcome: str, *samples: Sample, pod: str = "a") -> Series:
    name = "model_feedback_relayed_total"
    return Series({"__name__": name, "pod": pod, "made_by": made_by, "outcome": outcome}, samples)


def requests(*samples: Sample, pod: str = "a") -> Series:
    return Series({"__name__": REQUESTS, "pod": pod, "code": "200"}, samples)


def labels(counts: RequestCounts) -> tuple[int | None, int | None]:
    return counts.correct, counts.incorrect


def test_labels_received_by_the_other_version_count_for_the_one_that_predicted() -> None:
    stables = [
        relayed(CANARY, "correct", (8, 3), (18, 10)),
        relayed(CANARY, "incorrect", (8, 1), (18, 3)),
        relayed(CANARY, "correct", (9, 0), (19, 5), pod="b"),
    ]
    canarys = [relayed(STABLE, "incorrect", (8, 2), (18, 4), pod="c")]
    found = with_relayed({STABLE: OWN, CANARY: OWN}, {STABLE: stables, CANARY: canarys}, SPAN)
    assert labels(found[CANARY]) == (4 + 7 + 5, 1 + 2)
    assert labels(found[STABLE]) == (4, 1 + 2)


def test_labels_of_the_control_group_count_for_it_whichever_of_the_others_received_them() -> None:
    series = {
        STABLE: [relayed(CONTROL, "correct", (8, 3), (18, 10)), relayed(CANARY, "correct", (8, 0), (18, 6))],
        CANARY: [relayed(CONTROL, "incorrect", (8, 2), (18, 4), pod="b")],
        CONTROL: [
            relayed(STABLE, "correct", (8, 1), (18, 9), pod="c"),
            relayed(CANARY, "incorrect", (8, 0), (18, 5), pod="c"),
        ],
    }
    found = with_relayed(dict.fromkeys(series, OWN), series, SPAN)
    assert {revision: labels(counts) for revision, counts in found.items()} == {
        STABLE: (4 + 8, 1),
        CANARY: (4 + 6, 1 + 5),
        CONTROL: (4 + 7, 1 + 2),
    }


def test_relayed_labels_change_nothing_else_and_no_counts_of_a_pod() -> None:
    found = with_relayed({CANARY: OWN}, {STABLE: [relayed(CANARY, "correct", (8, 0), (18, 7))], CANARY: []}, SPAN)
    assert (found[CANARY].by_code, found[CANARY].pods) == (OWN.by_code, OWN.pods)


def test_labels_for_a_third_version_are_ignored() -> None:
    stables = [relayed("789abc", "incorrect", (8, 0), (18, 7))]
    assert with_relayed({STABLE: OWN, CANARY: OWN}, {STABLE: stables, CANARY: []}, SPAN) == {STABLE: OWN, CANARY: OWN}


def test_the_first_relayed_label_is_counted_although_its_counter_begins_with_it() -> None:
    stables = [requests((2, 1), (12, 2)), relayed(CANARY, "incorrect", (14, 1), (18, 2))]
    assert labels(with_relayed({CANARY: OWN}, {STABLE: stables, CANARY: []}, SPAN)[CANARY]) == (4, 1 + 2)


def test_relayed_labels_of_a_restarted_pod_count_from_0() -> None:
    stables = [relayed(CANARY, "correct", (8, 100), (12, 110), (18, 4))]
    assert labels(with_relayed({CANARY: OWN}, {STABLE: stables, CANARY: []}, SPAN)[CANARY]) == (4 + 10 + 4, 1)


def test_labels_stay_unknown_for_a_version_that_counts_none_itself() -> None:
    counts = {CANARY: RequestCounts(by_code={"200": 90})}
    stables = [relayed(CANARY, "correct", (8, 0), (18, 7))]
    assert with_relayed(counts, {STABLE: stables, CANARY: []}, SPAN) == counts
