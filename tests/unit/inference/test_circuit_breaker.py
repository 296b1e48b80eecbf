from iris_inference.circuit_breaker import CircuitBreaker


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> CircuitBreaker:
    breaker = CircuitBreaker(clock, threshold=3, initial_backoff=1, max_backoff=4)
    for _ in range(3):
        breaker.record_failure()
    return breaker


def test_single_failures_do_not_open_it() -> None:
    breaker = CircuitBreaker(Clock(), threshold=3)
    for _ in range(10):
        breaker.record_failure()
        breaker.record_failure()
        breaker.record_success()
    assert breaker.allow_request()


def test_failures_in_a_row_open_it() -> None:
    breaker = opened(Clock())
    assert breaker.open
    assert not breaker.allow_request()


def test_after_the_backoff_one_call_probes_and_the_others_wait() -> None:
    breaker = opened(clock := Clock())
    clock.now = 1.0
    assert [breaker.allow_request() for _ in range(3)] == [True, False, False]


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = opened(clock := Clock())
    clock.now = 1.0
    assert breaker.allow_request()
    breaker.record_success()
    assert [breaker.allow_request() for _ in range(3)] == [True, True, True]


def test_each_failed_probe_doubles_the_backoff_up_to_the_maximum() -> None:
    breaker = opened(clock := Clock())
    pauses = []
    for _ in range(5):
        since = clock.now
        while not breaker.allow_request():
            clock.now += 0.5
        breaker.record_failure()
        pauses.append(clock.now - since)
    assert pauses == [1, 2, 4, 4, 4]
