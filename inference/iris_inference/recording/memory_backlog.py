"""The backlog of records in memory, for a service without a disk."""

import threading
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final

from iris_inference.recording.record import BacklogFullError, Entry, count_rows


class MemoryBacklog:
    """A queue of at most `capacity` rows, which are lost with the process."""

    durable: Final = False

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: deque[Entry] = deque()
        self._mutex = threading.Lock()
        self._rows = 0
        self._size = 0
        self._closed = False

    @property
    def rows(self) -> int:
        """The number of waiting rows."""
        return self._rows

    @property
    def size(self) -> int:
        """The size of the waiting records in bytes."""
        return self._size

    @property
    def fill(self) -> float:
        """The used fraction of the capacity, 0 to 1."""
        return self._rows / self._capacity

    @property
    def oldest(self) -> float | None:
        """The time of the oldest waiting prediction in seconds since 1970; None when the backlog is empty."""
        with self._mutex:
            return self._entries[0].predicted_at if self._entries else None

    def append(self, entries: Sequence[Entry]) -> None:
        """Append all entries, or none and raise BacklogFullError."""
        with self._mutex:
            if self._closed:
                raise BacklogFullError("the process is about to end")
            if self._rows + count_rows(entries) > self._capacity:
                raise BacklogFullError(f"{self._rows} predictions wait in memory, {self._capacity} may")
            for entry in entries:
                self._entries.append(entry)
                self._adjust_totals(entry, 1)

    async def flush(self) -> None:
        """Nothing to flush: memory is not durable."""

    def peek(self, rows: int) -> list[Entry]:
        """The oldest entries with up to `rows` rows, at least one entry unless the backlog is empty."""
        peeked: list[Entry] = []
        with self._mutex:
            for entry in islice(self._entries, rows):
                if peeked and rows < entry.rows:
                    break
                peeked.append(entry)
                rows -= entry.rows
        return peeked

    def remove(self, entries: int) -> None:
        """Remove the first `entries` of the entries that `peek` returned last."""
        with self._mutex:
            for _ in range(entries):
                self._adjust_totals(self._entries.popleft(), -1)

    def close(self) -> None:
        """Reject further entries."""
        self._closed = True

    def _adjust_totals(self, entry: Entry, sign: int) -> None:
        self._rows += sign * entry.rows
        self._size += sign * len(entry.payload)
