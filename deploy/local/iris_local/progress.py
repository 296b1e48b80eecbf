"""Tells the person at the terminal what is going on and how long it will take."""

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
        self, sink: TextIO | None = None, clock: Callable[[], float] = time.monotonic, tick: float = _TICK
    ) -> None:
        self._sink = sink or sys.stdout
        self._clock = clock
        self._tick = tick
        self._start = clock()
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """One line, with the time since the start before it."""
        with self._lock:
            print(f"{span(self._clock() - self._start):>7}  {text}", file=self._sink, flush=True)

    @contextmanager
    def step(self, name: str, expected: float) -> Iterator[None]:
        """Surrounds a step that takes about `expected` seconds; repeats how far it is while it runs."""
        began = self._clock()
        ended = threading.Event()
        self.say(f"{name} (about {span(expected)})" if expected >= self._tick else name)

        def tick() -> None:
            while not ended.wait(self._tick):
                self.say(f"{name}: {span(self._clock() - began)} of about {span(expected)}")

        ticker = threading.Thread(target=tick, daemon=True)
        ticker.start()
        try:
            yield
        except BaseException:
            self.say(f"{name}: failed after {span(self._clock() - began)}")
            raise
        finally:
            ended.set()
            ticker.join()
        self.say(f"{name}: done in {span(self._clock() - began)}")


def span(seconds: float) -> str:
    """A duration as people write it: 9s, 4m05s."""
    whole = round(seconds)
    return f"{whole}s" if whole < 60 else f"{whole // 60}m{whole % 60:02d}s"  # noqa: PLR2004 - a minute has 60 seconds
