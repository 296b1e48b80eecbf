"""The records of mirrored requests: rows like those of predictions, in the table `shadow_predictions`."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from iris_inference.recording.record import Entry, Recorder, Refusal

TABLE: Final = "shadow_predictions"
# Three megabytes. These records are not worth a spool: those beyond are dropped, and cannot be compared with labels.
MAX_PENDING: Final = 10_000


class RecordTables(Protocol):
    """A database that inserts records into any of its tables."""

    def prepare(self) -> None:
        """See `RecordStore`."""
        ...

    def insert(self, entries: Sequence[Entry], table: str) -> int:
        """See `RecordStore`."""
        ...


class ShadowStore:
    """The table of mirrored requests as a `RecordStore`."""

    def __init__(self, database: RecordTables) -> None:
        self._database = database

    def prepare(self) -> None:
        """See `RecordStore`."""
        self._database.prepare()

    def insert(self, entries: Sequence[Entry]) -> int:
        """See `RecordStore`."""
        return self._database.insert(entries, TABLE)


class LazyRecorder:
    """Creates its recorder with the first mirrored request: most pods never get one, and a recorder has a thread."""

    def __init__(self, create: Callable[[], Recorder]) -> None:
        self._create = create
        self._recorder: Recorder | None = None

    async def submit(self, entries: Sequence[Entry]) -> Sequence[Refusal]:
        """See `Recorder`."""
        if self._recorder is None:
            self._recorder = self._create()
        return await self._recorder.submit(entries)

    def close(self, timeout_seconds: float) -> None:
        """See `Recorder`."""
        if self._recorder is not None:
            self._recorder.close(timeout_seconds)
