from hypothesis import given
from hypothesis import strategies as st

from iris_inference.auth.limiter import Allowance


def allowance(rate: float = 10.0, burst: int = 5) -> tuple[Allowance, list[Allowance]]:
    touched: list[Allowance] = []
    return Allowance("0123456789ab", rate, burst, touched), touched


def let_through(of: Allowance, now: float, asked: int) -> int:
    return sum(of.take(now) == 0 for _ in range(asked))


def test_a_new_key_may_burst_and_then_goes_on_at_its_rate() -> None:
    key, _ = allowance(rate=8, burst=5)
    assert let_through(key, 100.0, 20) == 5
    assert let_through(key, 100.125, 20) == 1
    assert let_through(key, 100.625, 20) == 4
    assert let_through(key, 1_000.0, 20) == 5


def test_who_is_held_back_hears_when_the_next_request_is_let_through() -> None:
    key, _ = allowance(rate=2, burst=1)
    assert key.take(50.0) == 0
    assert key.take(50.125) == 0.375
    assert key.take(50.5) == 0


def test_what_is_refused_costs_nothing() -> None:
    key, _ = allowance(rate=1, burst=1)
    assert let_through(key, 0.0, 1_000) == 1
    assert key.used == 1
    assert let_through(key, 1.0, 1) == 1


def test_a_key_is_settled_once_however_often_it_was_used() -> None:
    key, touched = allowance()
    let_through(key, 0.0, 4)
    assert touched == [key]
    assert key.used == 4


def test_what_the_others_used_is_missing_here() -> None:
    key, _ = allowance(rate=10, burst=5)
    assert let_through(key, 0.0, 1) == 1
    key.used = 0
    key.correct(1.0, 0.0)
    assert let_through(key, 0.0, 20) == 1
    key.used = 0
    key.correct(-10.0, 0.0)
    assert let_through(key, 1.05, 20) == 0
    assert let_through(key, 1.15, 20) == 1


def test_what_is_used_while_redis_answers_is_not_forgotten() -> None:
    key, _ = allowance(rate=10, burst=5)
    let_through(key, 0.0, 2)
    key.used = 0
    let_through(key, 0.0, 2)
    # Redis has heard of the first two only.
    key.correct(3.0, 0.0)
    assert let_through(key, 0.0, 20) == 1


def test_nonsense_shuts_nobody_out_for_hours() -> None:
    key, _ = allowance(rate=10, burst=5)
    key.correct(-1e12, 0.0)
    assert key.take(60.0) == 0


@given(
    rate=st.floats(0.1, 1_000),
    burst=st.integers(1, 100),
    pauses=st.lists(st.floats(0, 5), min_size=1, max_size=200),
)
def test_no_pattern_of_requests_gets_more_than_the_burst_and_the_rate(
    rate: float, burst: int, pauses: list[float]
) -> None:
    key, _ = allowance(rate, burst)
    now = 1_000.0
    through = 0
    for pause in pauses:
        now += pause
        through += key.take(now) == 0
    assert through <= burst + rate * (now - 1_000.0) + 1e-6
