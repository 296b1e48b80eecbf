from __future__ import annotations

import pytest

from iris_demo import counts
from iris_demo.samples import Kind, Label, LabelOutcome, Sample


def sample(due: float, version: str = "1.0.0", status: int = 200, latency: float = 0.005) -> Sample:
    return Sample(due, latency, Kind.OK if status < 300 else Kind.STATUS, status, version)


TIMED_OUT = Sample(12.0, 5.0, Kind.TIMEOUT, 0, "")
CUT_OFF = Sample(13.0, 0.1, Kind.CONNECT, 0, "")


def test_every_sample_is_counted_once() -> None:
    counted = counts.totals([sample(10), sample(11, "2.0.0", 500), TIMED_OUT, CUT_OFF])
    assert (counted.sent, counted.ok, counted.failures) == (4, 1, 3)
    assert counted.failed == {"connect": 1, "status 500": 1, "timeout": 1}
    assert counted.by_version == {"1.0.0": 1, "2.0.0": 1, "none": 2}
    assert counted.failed_by_version == {"2.0.0": 1, "none": 2}
    assert sum(counted.by_version.values()) == counted.sent


def test_nothing_sent_is_nothing_failed() -> None:
    assert counts.totals([]).failures == 0


def test_a_request_is_counted_in_the_time_at_which_it_was_due() -> None:
    late = sample(9.9, latency=3.0)
    assert counts.between([late, sample(10.0), sample(20.0)], 10.0, 20.0) == [sample(10.0)]


def test_the_history_has_one_entry_a_second() -> None:
    history = counts.per_second([sample(10.1), sample(10.9, "2.0.0", 500), sample(12.0)], start=10.0)
    assert [(second.at, second.sent, second.failed) for second in history] == [(0, 2, 1), (2, 1, 0)]
    assert history[0].by_version == {"1.0.0": 1, "2.0.0": 1}


def test_quantiles_are_over_answered_requests() -> None:
    answers = [sample(10 + i, latency=i / 100) for i in range(100)]
    assert counts.latency_quantile(answers, 0.5) == 0.5
    assert counts.latency_quantile(answers, 0.99) == 0.99
    assert counts.latency_quantile([TIMED_OUT], 0.99) is None


def test_the_first_bad_answer_is_the_first_that_the_client_had_in_full() -> None:
    slow_error = sample(10.0, "3.0.0", 500, latency=4.0)
    quick_error = sample(11.0, "3.0.0", 500, latency=0.5)
    other = sample(9.0, "1.0.0", 500)
    assert counts.first_failed_answer([other, slow_error, quick_error], "3.0.0") == 11.5
    assert counts.first_failed_answer([sample(10.0, "3.0.0")], "3.0.0") is None


def test_the_first_slow_answer_is_above_the_limit() -> None:
    answers = [sample(10.0, "4.0.0", latency=0.1), sample(11.0, "4.0.0", latency=0.2)]
    assert counts.first_slow_answer(answers, "4.0.0", 0.1) == 11.2
    assert counts.first_slow_answer(answers, "4.0.0", 0.2) is None


@pytest.mark.parametrize(
    "failure",
    [
        TIMED_OUT,
        CUT_OFF,
        sample(10.0, "1.0.0", 500),
        sample(10.0, "", 503),
        sample(10.0, "3.0.0", 422),
    ],
    ids=["timeout", "cut off", "the good version failed", "the proxy failed", "the canary refused good input"],
)
def test_only_a_5xx_of_the_bad_canary_itself_is_explained(failure: Sample) -> None:
    own = sample(10.0, "3.0.0", 500)
    assert counts.unexplained_failures([own, failure, sample(11.0)], "3.0.0") == [failure]


def test_no_failure_of_a_good_release_is_explained() -> None:
    assert len(counts.unexplained_failures([sample(10.0, "2.0.0", 500)], None)) == 1


def test_labels_count_for_the_version_that_made_the_prediction() -> None:
    outcomes = [
        ("8.0.0", LabelOutcome.INCORRECT),
        ("6.0.0", LabelOutcome.CORRECT),
        ("8.0.0", LabelOutcome.LOST),
        ("6.0.0", LabelOutcome.CORRECT),
    ]
    labels = [Label(1000.0, version, outcome) for version, outcome in outcomes]
    assert counts.labels_by_version(labels) == {
        "6.0.0": counts.LabelCounts(2, 0, 0),
        "8.0.0": counts.LabelCounts(0, 1, 1),
    }


def test_lateness_is_that_of_the_generator_and_not_of_the_answer() -> None:
    sent = [sample(1.0)._replace(late=0.001 * index, latency=9.0) for index in range(100)]
    assert counts.lateness_quantile(sent, 0.99) == pytest.approx(0.099)
    assert counts.lateness_quantile([], 0.99) is None
