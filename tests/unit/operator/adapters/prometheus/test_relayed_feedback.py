from __future__ import annotations

from iris_operator.adapters.prometheus.client import Sample, Series
from iris_operator.adapters.prometheus.counters import REQUESTS, Span
from iris_operator.adapters.prometheus.relayed import with_relayed
from iris_operator.analysis.counts import RequestCounts

STABLE, CANARY = "abc123", "def456"
SPAN = Span(since=10, until=20, max_age=30)
OWN = RequestCounts(by_code={"200": 90}, correct=4, incorrect=1, pods=(RequestCounts(correct=4, incorrect=1),))


def relayed(made_by: str, outcome: str, *samples: Sample, pod: str = "a") -> Series:
    name = "model_feedback_relayed_total"
    return Series({"__name__": name, "pod": pod, "made_by": made_by, "outcome": outcome}, samples)


def requests(*samples: Sample, pod: str = "a") -> Series:
    return Series({"__name__": REQUESTS, "pod": pod, "code": "200"}, samples)


def labels(counts: RequestCounts) -> tuple[int | None, int | None]:
    return counts.correct, counts.incorrect


def test_labels_that_came_to_pods_of_the_other_version_count_for_the_one_that_predicted() -> None:
    stables = [
        relayed(CANARY, "correct", (8, 3), (18, 10)),
        relayed(CANARY, "incorrect", (8, 1), (18, 3)),
        relayed(CANARY, "correct", (9, 0), (19, 5), pod="b"),
    ]
    canarys = [relayed(STABLE, "incorrect", (8, 2), (18, 4), pod="c")]
    found = with_relayed({STABLE: OWN, CANARY: OWN}, {STABLE: stables, CANARY: canarys}, SPAN)
    assert labels(found[CANARY]) == (4 + 7 + 5, 1 + 2)
    assert labels(found[STABLE]) == (4, 1 + 2)


def test_nothing_else_of_the_version_changes_and_no_pod_of_it() -> None:
    found = with_relayed({CANARY: OWN}, {STABLE: [relayed(CANARY, "correct", (8, 0), (18, 7))], CANARY: []}, SPAN)
    assert (found[CANARY].by_code, found[CANARY].pods) == (OWN.by_code, OWN.pods)


def test_labels_for_a_third_version_are_no_news_about_these_two() -> None:
    stables = [relayed("789abc", "incorrect", (8, 0), (18, 7))]
    assert with_relayed({STABLE: OWN, CANARY: OWN}, {STABLE: stables, CANARY: []}, SPAN) == {STABLE: OWN, CANARY: OWN}


def test_the_first_label_of_a_canary_is_counted_though_its_counter_begins_with_it() -> None:
    stables = [requests((2, 1), (12, 2)), relayed(CANARY, "incorrect", (14, 1), (18, 2))]
    assert labels(with_relayed({CANARY: OWN}, {STABLE: stables, CANARY: []}, SPAN)[CANARY]) == (4, 1 + 2)


def test_a_pod_that_began_again_counts_from_0() -> None:
    stables = [relayed(CANARY, "correct", (8, 100), (12, 110), (18, 4))]
    assert labels(with_relayed({CANARY: OWN}, {STABLE: stables, CANARY: []}, SPAN)[CANARY]) == (4 + 10 + 4, 1)


def test_of_a_version_that_counts_no_labels_it_is_still_not_known_how_many_there_are() -> None:
    counts = {CANARY: RequestCounts(by_code={"200": 90})}
    stables = [relayed(CANARY, "correct", (8, 0), (18, 7))]
    assert with_relayed(counts, {STABLE: stables, CANARY: []}, SPAN) == counts
