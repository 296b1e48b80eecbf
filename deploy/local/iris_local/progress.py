"""Reports progress on the terminal, with expected durations."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_TICK = 15.0


class Progress:
    """Prints the start, the elapsed time now and then, and the end of each step. Safe to use from several threads."""

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic, tick: float = _TICK
    ) -> None:
        self._stream = stream or sys.stdout
        self._clock = clock
        self._tick = tick
        self._start = clock()
        self._lock = threading.Lock()

    def log(self, text: str) -> None:
        """One line, with the time since the start before it."""
        with self._lock:
            print(f"{format_duration(self._clock() - self._start):>7}  {text}", file=self._stream, flush=True)

    @contextmanager
    def step(self, name: str, expected: float) -> Iterator[None]:
        """Wraps a step that takes about `expected` seconds; reports the elapsed time while it runs."""
        began = self._clock()
        ended = threading.Event()
        self.log(f"{name} (about {format_duration(expected)})" if expected >= self._tick else name)

        def tick() -> None:
            while not ended.wait(self._tick):
                self.log(f"{name}: {format_duration(self._clock() - began)} of about {format_duration(expected)}")

        ticker = threading.Thread(target=tick, daemon=True)
        ticker.start()
        try:
            yield
        except BaseException:
            self.log(f"{name}: failed after {format_duration(self._clock() - began)}")
            raise
        finally:
            ended.set()
            ticker.join()
        self.log(f"{name}: done in {format_duration(self._clock() - began)}")


def format_duration(seconds: float) -> str:
    """A duration in human-readable form: 9s, 4m05s."""
    whole = round(seconds)
    return f"{whole}s" if whole < 60 else f"{whole // 60}m{whole % 60:02d}s"  # noqa: PLR2004 - a minute has 60 seconds
