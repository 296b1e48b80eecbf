"""What is recorded of an answered request, and who takes it on its way to the database.

service -> Recorder -> Backlog (memory.py or spool.py) -> RecordStore (store.py)
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from iris_inference.problems import ProblemError


class Entry(NamedTuple):
    """Records as they wait: their rows as copyrows.py writes them, and what must be known without reading them.

    They are of one request, or of some that were answered at the same time.

    `rows` is the number of its flowers, `at` the time of the prediction in seconds since 1970. One that is `folded`, as
    columns.py does it, is of one request.
    """

    rows: int
    at: float
    payload: bytes
    folded: bool = False


def joined(entries: Sequence[Entry]) -> list[Entry]:
    """The records of requests that were answered at the same time: as one, but for those that are folded."""
    if len(entries) == 1:
        return list(entries)
    folded = [entry for entry in entries if entry.folded]
    written = [entry for entry in entries if not entry.folded]
    if written:
        folded.append(Entry(rows_of(written), written[0].at, b"".join([entry.payload for entry in written])))
    return folded


def rows_of(entries: Sequence[Entry]) -> int:
    """How many flowers the entries hold."""
    return sum(entry.rows for entry in entries)


class StoreUnavailableError(Exception):
    """The database does not take records now; trying again later makes sense."""


class StoreRefusedError(Exception):
    """The database answered and will never take all of these records; trying the same again makes no sense."""


class RecordStore(Protocol):
    """Where records end up."""

    def prepare(self) -> None:
        """Make the store ready for records. Raises StoreUnavailableError or StoreRefusedError."""
        ...

    def insert(self, entries: Sequence[Entry]) -> int:
        """Write the flowers of the entries, each at most once ever, and return how many were new.

        Raises StoreUnavailableError or StoreRefusedError; then none was written, or all were.
        """
        ...


class BacklogFullError(Exception):
    """There is no room for one more record; the message says which bound was met, or what the disk said."""


class BacklogDamagedError(Exception):
    """Waiting records were lost to a failing disk; `rows` says how many."""

    def __init__(self, rows: int, reason: str) -> None:
        super().__init__(reason)
        self.rows = rows


class Backlog(Protocol):
    """A queue of records that wait for the database. One thread appends, one takes."""

    @property
    def durable(self) -> bool:
        """Whether an entry outlives this process."""
        ...

    @property
    def rows(self) -> int:
        """How many flowers wait."""
        ...

    @property
    def size(self) -> int:
        """Bytes that the waiting records take."""
        ...

    @property
    def fill(self) -> float:
        """How much of the room for waiting records is taken, 0 to 1."""
        ...

    @property
    def oldest(self) -> float | None:
        """When the longest waiting prediction was made, in seconds since 1970; None when nothing waits."""
        ...

    def append(self, entries: Sequence[Entry]) -> None:
        """Add the entries, all of them or, with BacklogFullError, none."""
        ...

    async def settle(self) -> None:
        """Return once what was appended is as safe as this backlog promises. Raises BacklogFullError."""
        ...

    def peek(self, rows: int) -> list[Entry]:
        """The oldest entries: as many as hold `rows` flowers, at least one unless nothing waits. They stay.

        Raises BacklogDamagedError for entries that were there and cannot be read any more; the next call goes on.
        """
        ...

    def forget(self, entries: int) -> None:
        """Remove as many of the entries that `peek` returned last: the database has them."""
        ...

    def close(self) -> None:
        """Give back what the backlog holds open. What still waits in a durable one stays for the next process."""
        ...


Refusal = ProblemError | None


class Recorder(Protocol):
    """Takes records from the request's path. Never waits for the database."""

    async def submit(self, entries: Sequence[Entry]) -> Sequence[Refusal]:
        """Take over the records of some requests.

        Returns for each of them None, or the problem (503) to answer with because its record would be lost.
        """
        ...

    def close(self, timeout_seconds: float) -> None:
        """Write what is left, for as long as `timeout_seconds` at most."""
        ...


class NoRecorder:
    """Stands in when no database is configured."""

    async def submit(self, entries: Sequence[Entry]) -> Sequence[Refusal]:
        """Nothing is kept."""
        return [None] * len(entries)

    def close(self, timeout_seconds: float) -> None:
        """Nothing is left."""
