"""A circuit breaker: after a few failures in a row a dependency is left alone for a while, longer each time."""

from collections.abc import Callable


class CircuitBreaker:
    """Closed: calls go through. Open: none does until the pause is over. Then one call probes.

    Belongs to one thread or event loop; `clock` gives seconds that only rise.
    """

    def __init__(
        self, clock: Callable[[], float], threshold: int = 5, first_pause: float = 1.0, longest_pause: float = 30.0
    ) -> None:
        self._clock = clock
        self._threshold = threshold
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._failures = 0
        self._pause = first_pause
        self._open_until: float | None = None

    @property
    def open(self) -> bool:
        """Whether failures have opened the circuit and no call has succeeded since."""
        return self._open_until is not None

    def admits(self) -> bool:
        """Whether a call may be made now. When it is a probe, it holds back all others for one more pause."""
        if self._open_until is None:
            return True
        now = self._clock()
        if now < self._open_until:
            return False
        self._open_until = now + self._pause
        return True

    def succeeded(self) -> None:
        """A call succeeded: the circuit closes."""
        self._failures = 0
        self._pause = self._first_pause
        self._open_until = None

    def failed(self) -> None:
        """A call failed: the circuit opens at the threshold, and a failed probe doubles the pause."""
        self._failures += 1
        if self._open_until is not None:
            self._pause = min(self._pause * 2, self._longest_pause)
        if self._failures >= self._threshold:
            self._open_until = self._clock() + self._pause
