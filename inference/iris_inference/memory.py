"""Records that wait in memory: for a service that has no disk to keep them on."""

import threading
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final

from iris_inference.records import BacklogFullError, Entry, rows_of


class MemoryBacklog:
    """At most `capacity` flowers, which end with the process."""

    durable: Final = False

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._waiting: deque[Entry] = deque()
        self._mutex = threading.Lock()
        self._rows = 0
        self._size = 0
        self._closed = False

    @property
    def rows(self) -> int:
        """How many flowers wait."""
        return self._rows

    @property
    def size(self) -> int:
        """Bytes that the waiting records take."""
        return self._size

    @property
    def fill(self) -> float:
        """How much of the room for waiting records is taken, 0 to 1."""
        return self._rows / self._capacity

    @property
    def oldest(self) -> float | None:
        """When the longest waiting prediction was made, in seconds since 1970; None when nothing waits."""
        with self._mutex:
            return self._waiting[0].at if self._waiting else None

    def append(self, entries: Sequence[Entry]) -> None:
        """Add the entries, all of them or, with BacklogFullError, none."""
        with self._mutex:
            if self._closed:
                raise BacklogFullError("the process is about to end")
            if self._rows + rows_of(entries) > self._capacity:
                raise BacklogFullError(f"{self._rows} predictions wait in memory, {self._capacity} may")
            for entry in entries:
                self._waiting.append(entry)
                self._count(entry, 1)

    async def settle(self) -> None:
        """Memory promises nothing beyond the process."""

    def peek(self, rows: int) -> list[Entry]:
        """The oldest entries: as many as hold `rows` flowers, at least one unless nothing waits. They stay."""
        found: list[Entry] = []
        with self._mutex:
            for entry in islice(self._waiting, rows):
                if found and rows < entry.rows:
                    break
                found.append(entry)
                rows -= entry.rows
        return found

    def forget(self, entries: int) -> None:
        """Remove as many of the entries that `peek` returned last."""
        with self._mutex:
            for _ in range(entries):
                self._count(self._waiting.popleft(), -1)

    def close(self) -> None:
        """Take no more."""
        self._closed = True

    def _count(self, entry: Entry, sign: int) -> None:
        self._rows += sign * entry.rows
        self._size += sign * len(entry.payload)
