"""What copies leave in the database: rows like those of predictions, in the table `shadow_predictions`."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from iris_inference.records import Entry, Recorder, Refusal

TABLE: Final = "shadow_predictions"
# Three megabytes. Copies are not worth a disk: those that find no room are dropped, and are no pair for a label.
MOST_WAITING: Final = 10_000


class Tables(Protocol):
    """A database that takes records into any of its tables."""

    def prepare(self) -> None:
        """See `RecordStore`."""
        ...

    def insert(self, entries: Sequence[Entry], table: str) -> int:
        """See `RecordStore`."""
        ...


class ShadowStore:
    """The table of copies as a `RecordStore`."""

    def __init__(self, database: Tables) -> None:
        self._database = database

    def prepare(self) -> None:
        """See `RecordStore`."""
        self._database.prepare()

    def insert(self, entries: Sequence[Entry]) -> int:
        """See `RecordStore`."""
        return self._database.insert(entries, TABLE)


class LazyRecorder:
    """Makes its recorder with the first copy: most pods never see one, and each would keep a thread for it."""

    def __init__(self, make: Callable[[], Recorder]) -> None:
        self._make = make
        self._made: Recorder | None = None

    async def submit(self, entries: Sequence[Entry]) -> Sequence[Refusal]:
        """See `Recorder`."""
        if self._made is None:
            self._made = self._make()
        return await self._made.submit(entries)

    def close(self, timeout_seconds: float) -> None:
        """See `Recorder`."""
        if self._made is not None:
            self._made.close(timeout_seconds)
