"""Records of answered requests, and the interfaces on their way to the database.

service -> Recorder -> Backlog (memory_backlog.py or spool.py) -> RecordStore (database.py)
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """Records in the backlog: the rows encoded by copy_format.py, and what is needed without decoding them.

    They are the records of one request, or of several that were answered at the same time.

    `rows` is the number of instances, `predicted_at` in seconds since 1970. A `columnar` payload, encoded by
    columnar.py, has the records of one request.
    """

    rows: int
    predicted_at: float
    payload: bytes
    columnar: bool = False


def merge_entries(entries: Sequence[Entry]) -> list[Entry]:
    """Merge the records of requests that were answered at the same time into one entry, except columnar ones."""
    if len(entries) == 1:
        return list(entries)
    merged = [entry for entry in entries if entry.columnar]
    written = [entry for entry in entries if not entry.columnar]
    if written:
        merged.append(
            Entry(count_rows(written), written[0].predicted_at, b"".join([entry.payload for entry in written]))
        )
    return merged


def count_rows(entries: Sequence[Entry]) -> int:
    """The number of rows of all entries."""
    return sum(entry.rows for entry in entries)


class StoreUnavailableError(Exception):
    """The database does not accept records now; retry later."""


class StoreRefusedError(Exception):
    """The database rejects these records permanently; retrying does not help."""


class RecordStore(Protocol):
    """Stores records."""

    def prepare(self) -> None:
        """Prepare the store for records. Raises StoreUnavailableError or StoreRefusedError."""
        ...

    def insert(self, entries: Sequence[Entry]) -> int:
        """Insert the rows of the entries, each at most once, and return the number of new ones.

        Raises StoreUnavailableError or StoreRefusedError; then no row was written, or all were.
        """
        ...


class BacklogFullError(Exception):
    """There is no room for another record; the message has the limit, or the error of the disk."""


class BacklogDamagedError(Exception):
    """Waiting records were lost to a failing disk; `rows` is their number."""

    def __init__(self, rows: int, reason: str) -> None:
        super().__init__(reason)
        self.rows = rows


class Backlog(Protocol):
    """A queue of records that wait for the database, with one producer thread and one consumer thread."""

    @property
    def durable(self) -> bool:
        """Whether entries survive this process."""
        ...

    @property
    def rows(self) -> int:
        """The number of waiting rows."""
        ...

    @property
    def size(self) -> int:
        """The size of the waiting records in bytes."""
        ...

    @property
    def fill(self) -> float:
        """The used fraction of the capacity, 0 to 1."""
        ...

    @property
    def oldest(self) -> float | None:
        """The time of the oldest waiting prediction in seconds since 1970; None when the backlog is empty."""
        ...

    def append(self, entries: Sequence[Entry]) -> None:
        """Append all entries, or none and raise BacklogFullError."""
        ...

    async def flush(self) -> None:
        """Wait until the appended entries are as durable as this backlog makes them. Raises BacklogFullError."""
        ...

    def peek(self, rows: int) -> list[Entry]:
        """The oldest entries with up to `rows` rows, at least one entry unless the backlog is empty.

        Raises BacklogDamagedError for entries that can no longer be read; the next call continues after them.
        """
        ...

    def remove(self, entries: int) -> None:
        """Remove the first `entries` of the entries that `peek` returned last: the database has them."""
        ...

    def close(self) -> None:
        """Release the backlog's resources. The entries of a durable backlog stay for the next process."""
        ...


class RecordNotKeptError(Exception):
    """A prediction must not be returned, because its record could not be stored; the message has the reason."""


Refusal = RecordNotKeptError | None


class RecordCounts(Protocol):
    """Counts the results of writing records."""

    def records(self, result: str, count: int) -> None:
        """Count the result of writing `count` predictions to PostgreSQL."""
        ...

    def watch_backlog(self, backlog: Backlog) -> None:
        """Expose the state of `backlog` at each scrape."""
        ...


class Recorder(Protocol):
    """Accepts the records of requests without waiting for the database."""

    async def submit(self, entries: Sequence[Entry]) -> Sequence[Refusal]:
        """Accept the records of several requests.

        Returns for each of them None, or the error to respond with because its record would be lost.
        """
        ...

    def close(self, timeout_seconds: float) -> None:
        """Write the remaining records, for at most `timeout_seconds`."""
        ...


class NoRecorder:
    """Used when no database is configured."""

    async def submit(self, entries: Sequence[Entry]) -> Sequence[Refusal]:
        """Nothing is recorded."""
        return [None] * len(entries)

    def close(self, timeout_seconds: float) -> None:
        """Nothing to write."""
