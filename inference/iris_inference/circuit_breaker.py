"""A circuit breaker: after several consecutive failures a dependency is not called for a while, longer each time."""

from collections.abc import Callable


class CircuitBreaker:
    """Closed: calls are allowed. Open: none is until the backoff has passed; then one call is allowed as a probe.

    Not thread-safe: use it from one thread or event loop. `clock` returns monotonic seconds.
    """

    def __init__(
        self, clock: Callable[[], float], threshold: int = 5, initial_backoff: float = 1.0, max_backoff: float = 30.0
    ) -> None:
        self._clock = clock
        self._threshold = threshold
        self._initial_backoff = initial_backoff
        self._max_backoff = max_backoff
        self._failures = 0
        self._backoff = initial_backoff
        self._open_until: float | None = None

    @property
    def open(self) -> bool:
        """Whether consecutive failures have opened the circuit and no call has succeeded since."""
        return self._open_until is not None

    def allow_request(self) -> bool:
        """Whether a call may be made now. A probe blocks all other calls for another backoff."""
        if self._open_until is None:
            return True
        now = self._clock()
        if now < self._open_until:
            return False
        self._open_until = now + self._backoff
        return True

    def record_success(self) -> None:
        """Close the circuit: a call succeeded."""
        self._failures = 0
        self._backoff = self._initial_backoff
        self._open_until = None

    def record_failure(self) -> None:
        """Count a failed call: at the threshold the circuit opens, and a failed probe doubles the backoff."""
        self._failures += 1
        if self._open_until is not None:
            self._backoff = min(self._backoff * 2, self._max_backoff)
        if self._failures >= self._threshold:
            self._open_until = self._clock() + self._backoff
