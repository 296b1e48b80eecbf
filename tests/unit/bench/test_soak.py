"""What a soak is judged by."""

import pytest

from bench.inference.soak.judge import Flatness, Records, Sample, findings, flatness

MINUTES = 60.0
HALF_AN_HOUR = 30 * MINUTES


def sample(at: float, resident: float = 100e6, sent: int = 0, failed: int = 0) -> Sample:
    return Sample(at, int(resident), 0, 0, sent, sent - failed, failed, 1.0, 2.0)


def samples(growth_an_hour: float) -> list[Sample]:
    return [sample(at, 100e6 + growth_an_hour * at / 3_600) for at in range(5, 1_801, 5)]


def test_memory_is_compared_between_minutes_5_to_10_and_the_last_5() -> None:
    seen = [sample(minute * MINUTES, 1e6 * minute) for minute in range(31)]
    flat = flatness(seen, HALF_AN_HOUR)
    assert flat.early == pytest.approx(1e6 * (5 + 6 + 7 + 8 + 9) / 5)
    assert flat.late == pytest.approx(1e6 * (25 + 26 + 27 + 28 + 29 + 30) / 6)
    assert flat.slope == pytest.approx(60e6)


def test_what_happens_before_minute_5_does_not_count() -> None:
    seen = [sample(minute * MINUTES, 50e6 if minute < 5 else 100e6) for minute in range(31)]
    flat = flatness(seen, HALF_AN_HOUR)
    assert (flat.early, flat.late, flat.change) == (100e6, 100e6, 0)
    assert flat.slope == pytest.approx(0)


@pytest.mark.parametrize(("growth_an_hour", "good"), [(8e6, True), (10e6, False), (-8e6, True), (-10e6, False)])
def test_memory_may_move_by_3_per_cent_in_half_an_hour(growth_an_hour: float, good: bool) -> None:
    flat = flatness(samples(growth_an_hour), HALF_AN_HOUR)
    first = findings(sample(HALF_AN_HOUR, sent=1_800), flat, Records(1, 1, 1, 0.0), 1.0, HALF_AN_HOUR)[0]
    assert first.name == "memory, late against early"
    assert first.good is good


def test_a_time_without_samples_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="too few samples"):
        flatness([sample(1.0)], HALF_AN_HOUR)


FLAT = Flatness(100e6, 100e6, 0.0)


def verdicts(last: Sample, records: Records) -> dict[str, bool]:
    return {finding.name: finding.good for finding in findings(last, FLAT, records, 10.0, 100.0)}


def test_a_clean_soak_passes() -> None:
    assert set(verdicts(sample(100, sent=1_000), Records(1_000, 1_000, 1_000, 0.0)).values()) == {True}


def test_one_failed_request_is_too_many() -> None:
    assert not verdicts(sample(100, sent=1_000, failed=1), Records(999, 999, 999, 0.0))["requests that failed"]


def test_a_rate_that_was_not_sustained_is_reported() -> None:
    assert not verdicts(sample(100, sent=989), Records(989, 989, 989, 0.0))["rate sent"]


@pytest.mark.parametrize(
    "records", [Records(1_000, 999, 999, 0.0), Records(1_000, 1_001, 1_001, 0.0), Records(1_000, 1_000, 999, 0.0)]
)
def test_a_lost_additional_or_duplicate_record_is_found(records: Records) -> None:
    assert not verdicts(sample(100, sent=1_000), records)["acknowledged and recorded"]
