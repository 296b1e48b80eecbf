"""When a pass over a release may begin: while this process leads, and until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from iris_operator.leadership import Leadership
from iris_operator.liveness import Liveness
from iris_operator.workqueue import Key

# What is left at a graceful end for the passes that are running. One that is cut off loses nothing: what it intends is
# stored before it acts.
DRAIN_SECONDS: Final = 0.7


class PassGate:
    """Lets passes begin and counts those that run."""

    def __init__(self, leadership: Leadership, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self.leadership = leadership
        self._clock = clock
        self._liveness = Liveness()
        self._closed = False
        self._running = 0
        self._drained = asyncio.Event()

    def may_begin(self) -> bool:
        """May a pass begin at this moment?"""
        return self.leadership.leads() and not self._closed

    async def wait(self, key: Key) -> None:
        """Wait until a pass over this release may begin; for ever once the gate is closed."""
        self._liveness.forget(key)
        await self.leadership.wait()
        if self._closed:
            await asyncio.Event().wait()

    @contextmanager
    def passing(self, key: Key) -> Iterator[None]:
        """The context of a pass."""
        self._running += 1
        self._liveness.begun(key, self._clock())
        try:
            with self.leadership.in_term():
                yield
        finally:
            self._running -= 1
            if not self._running:
                self._drained.set()

    def due(self, key: Key, seconds: float) -> None:
        """A pass has ended, in whatever way, and the next one is due in so many seconds."""
        self._liveness.ended(key, self._clock(), seconds)

    def forget(self, key: Key) -> None:
        """The release needs no further pass."""
        self._liveness.forget(key)

    def leader_changed(self) -> None:
        """What was due is so no longer, or for another operator."""
        self._liveness.forget_all()

    def problem(self) -> str:
        """Why this process should be restarted; empty while it works."""
        if self.leadership.hangs():
            return "the election hangs"
        return self._liveness.stalled(self._clock()) if self.leadership.leads() else ""

    async def close(self) -> None:
        """Let no pass begin any more and those that run end, for a moment; then hand over to another operator."""
        self._closed = True
        self._drained.clear()
        if self._running:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._drained.wait(), DRAIN_SECONDS)
        await self.leadership.retire()
