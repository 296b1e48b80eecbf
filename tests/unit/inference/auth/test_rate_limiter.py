from hypothesis import given
from hypothesis import strategies as st

from iris_inference.auth.rate_limiter import TokenBucket


def bucket(rate: float = 10.0, burst: int = 5) -> tuple[TokenBucket, list[TokenBucket]]:
    unsynced: list[TokenBucket] = []
    return TokenBucket("0123456789ab", rate, burst, unsynced), unsynced


def count_allowed(bucket: TokenBucket, now: float, requests: int) -> int:
    return sum(bucket.try_acquire(now) == 0 for _ in range(requests))


def test_a_new_key_may_burst_and_is_then_limited_to_its_rate() -> None:
    key, _ = bucket(rate=8, burst=5)
    assert count_allowed(key, 100.0, 20) == 5
    assert count_allowed(key, 100.125, 20) == 1
    assert count_allowed(key, 100.625, 20) == 4
    assert count_allowed(key, 1_000.0, 20) == 5


def test_a_limited_request_gets_the_time_until_the_next_one_is_allowed() -> None:
    key, _ = bucket(rate=2, burst=1)
    assert key.try_acquire(50.0) == 0
    assert key.try_acquire(50.125) == 0.375
    assert key.try_acquire(50.5) == 0


def test_refused_requests_take_no_tokens() -> None:
    key, _ = bucket(rate=1, burst=1)
    assert count_allowed(key, 0.0, 1_000) == 1
    assert key.used == 1
    assert count_allowed(key, 1.0, 1) == 1


def test_a_bucket_is_queued_for_synchronization_once() -> None:
    key, unsynced = bucket()
    count_allowed(key, 0.0, 4)
    assert unsynced == [key]
    assert key.used == 4


def test_the_usage_of_other_pods_reduces_the_tokens() -> None:
    key, _ = bucket(rate=10, burst=5)
    assert count_allowed(key, 0.0, 1) == 1
    key.used = 0
    key.correct(1.0, 0.0)
    assert count_allowed(key, 0.0, 20) == 1
    key.used = 0
    key.correct(-10.0, 0.0)
    assert count_allowed(key, 1.05, 20) == 0
    assert count_allowed(key, 1.15, 20) == 1


def test_requests_during_a_synchronization_are_not_lost() -> None:
    key, _ = bucket(rate=10, burst=5)
    count_allowed(key, 0.0, 2)
    key.used = 0
    count_allowed(key, 0.0, 2)
    # The first two are reported to Redis, the others are not.
    key.correct(3.0, 0.0)
    assert count_allowed(key, 0.0, 20) == 1


def test_a_wrong_correction_does_not_lock_a_key_out_for_hours() -> None:
    key, _ = bucket(rate=10, burst=5)
    key.correct(-1e12, 0.0)
    assert key.try_acquire(60.0) == 0


@given(
    rate=st.floats(0.1, 1_000),
    burst=st.integers(1, 100),
    pauses=st.lists(st.floats(0, 5), min_size=1, max_size=200),
)
def test_no_pattern_of_requests_exceeds_the_burst_and_the_rate(rate: float, burst: int, pauses: list[float]) -> None:
    key, _ = bucket(rate, burst)
    now = 1_000.0
    allowed = 0
    for pause in pauses:
        now += pause
        allowed += key.try_acquire(now) == 0
    assert allowed <= burst + rate * (now - 1_000.0) + 1e-6
