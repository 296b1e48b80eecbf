"""wrk's correction of its latencies, and its reversal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.inference.histogram import percentile, without_synthetic

HISTOGRAMS = st.dictionaries(st.integers(1, 400), st.integers(1, 5), min_size=1, max_size=30)


def as_wrk_reports(measured: dict[int, int], interval: int) -> dict[int, int]:
    """What stats_correct in wrk's stats.c does, on a table of counts."""
    counts = [measured.get(latency, 0) for latency in range(max(measured) + 1)]
    for latency in range(interval * 2, len(counts)):
        shorter = latency - interval
        while counts[latency] and shorter > interval:
            counts[shorter] += counts[latency]
            shorter -= interval
    return {latency: count for latency, count in enumerate(counts) if count}


@given(HISTOGRAMS, st.integers(1, 500))
def test_what_was_measured_comes_back_exactly(measured: dict[int, int], interval: int) -> None:
    assert without_synthetic(as_wrk_reports(measured, interval), interval) == measured


def test_a_synthetic_latency_would_have_changed_the_99th_percentile() -> None:
    measured = {10: 985, 100: 15}
    reported = as_wrk_reports(measured, 11)
    assert sum(reported.values()) > sum(measured.values())
    assert percentile(reported, 95) > percentile(without_synthetic(reported, 11), 95) == 10


def test_a_latency_without_those_that_wrk_would_have_added_is_refused() -> None:
    with pytest.raises(ValueError, match="no latency of 70 us"):
        without_synthetic({100: 1}, 30)


def test_fewer_latencies_than_wrk_would_have_added_are_refused() -> None:
    with pytest.raises(ValueError, match="1 latencies of 70 us are missing"):
        without_synthetic({100: 2, 70: 1, 40: 2}, 30)


def test_a_percentile_is_a_latency_that_was_seen() -> None:
    latencies = {1: 98, 5: 1, 9: 1}
    assert [percentile(latencies, share) for share in (50, 98, 99, 99.5, 100)] == [1, 1, 5, 9, 9]


@pytest.mark.parametrize("share", [0, -1, 100.1])
def test_an_invalid_share_is_rejected(share: float) -> None:
    with pytest.raises(ValueError, match="a share is"):
        percentile({1: 1}, share)


def test_no_latencies_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no latencies"):
        percentile({}, 50)
