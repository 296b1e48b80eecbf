from iris_inference.breaker import CircuitBreaker


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> CircuitBreaker:
    breaker = CircuitBreaker(clock, threshold=3, first_pause=1, longest_pause=4)
    for _ in range(3):
        breaker.failed()
    return breaker


def test_single_failures_do_not_open_it() -> None:
    breaker = CircuitBreaker(Clock(), threshold=3)
    for _ in range(10):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert breaker.admits()


def test_failures_in_a_row_open_it() -> None:
    breaker = opened(Clock())
    assert breaker.open
    assert not breaker.admits()


def test_after_the_pause_one_call_probes_and_the_others_wait() -> None:
    breaker = opened(clock := Clock())
    clock.now = 1.0
    assert [breaker.admits() for _ in range(3)] == [True, False, False]


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = opened(clock := Clock())
    clock.now = 1.0
    assert breaker.admits()
    breaker.succeeded()
    assert [breaker.admits() for _ in range(3)] == [True, True, True]


def test_each_probe_that_fails_doubles_the_pause_up_to_the_longest() -> None:
    breaker = opened(clock := Clock())
    pauses = []
    for _ in range(5):
        since = clock.now
        while not breaker.admits():
            clock.now += 0.5
        breaker.failed()
        pauses.append(clock.now - since)
    assert pauses == [1, 2, 4, 4, 4]
