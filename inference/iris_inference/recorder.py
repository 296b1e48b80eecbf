"""Brings records from the backlog into the database, in a thread of its own."""

import logging
import threading
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from iris_inference.copyrows import split
from iris_inference.counting import RecordCounts
from iris_inference.logs import fields
from iris_inference.problems import ProblemError
from iris_inference.records import (
    Backlog,
    BacklogDamagedError,
    BacklogFullError,
    Entry,
    RecordStore,
    Refusal,
    StoreRefusedError,
    StoreUnavailableError,
    joined,
    rows_of,
)

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
# A batch waits this long for company: one statement for many requests instead of one each.
_LINGER_SECONDS: Final = 0.2


class BatchRecorder:
    """Empties a backlog into a store, oldest first, however long the store is away."""

    def __init__(self, store: RecordStore, backlog: Backlog, metrics: RecordCounts, batch: int) -> None:
        self._store = store
        self._backlog = backlog
        self._metrics = metrics
        self._batch = batch
        self._work = threading.Event()
        # Set when the process is about to end: from then on nothing lingers, and pauses end early.
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._away = False
        self._unsure = False
        self._pause = _FIRST_PAUSE_SECONDS
        metrics.watch_backlog(backlog)
        # A daemon: a database that hangs must not keep a process from ending.
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    async def submit(self, entries: Sequence[Entry]) -> Sequence[Refusal]:
        """Take over the records of some requests.

        What does not fit into a durable backlog is refused (503): then the prediction is not acknowledged. What does
        not fit into one that is not durable is dropped and counted.
        """
        refusals = self._append(entries)
        try:
            await self._backlog.settle()
        except BacklogFullError as error:
            refusals = [
                refusal or self._refused(entry, error) for entry, refusal in zip(entries, refusals, strict=True)
            ]
        if not self._work.is_set():
            self._work.set()
        return refusals

    def _append(self, entries: Sequence[Entry]) -> list[Refusal]:
        try:
            self._backlog.append(joined(entries))
        except BacklogFullError as error:
            if len(entries) == 1:
                return [self._refused(entries[0], error)]
            # Together they were too much; one by one there may be room for some.
            return [refusal for entry in entries for refusal in self._append([entry])]
        return [None] * len(entries)

    def _refused(self, entry: Entry, error: BacklogFullError) -> Refusal:
        if not self._backlog.durable:
            self._metrics.records("dropped", entry.rows)
            return None
        self._metrics.records("rejected", entry.rows)
        return _not_kept(error)

    def close(self, timeout_seconds: float) -> None:
        """Write what is left. What cannot be written in time stays in a durable backlog; otherwise it is dropped."""
        self._deadline = time.monotonic() + timeout_seconds
        self._closing.set()
        self._work.set()
        self._thread.join(timeout_seconds + 1)
        left = self._backlog.rows
        if left and self._backlog.durable:
            log.error("the database did not take all; records are left in the spool", extra=fields(records=left))
        elif left:
            self._drop(left, "the process ends while the database is away")
        if self._thread.is_alive():
            log.error("the database hangs; the last batch of records is abandoned")
        else:
            self._backlog.close()

    def _run(self) -> None:
        try:
            # Not left to the first record: a wrong address or password shows in the log at the start.
            self._store.prepare()
        except (StoreUnavailableError, StoreRefusedError) as error:
            self._tell_away(error)
        while entries := self._next_batch():
            try:
                self._insert(entries)
            except StoreUnavailableError as error:
                self._tell_away(error)
                if time.monotonic() >= self._deadline:
                    return
                self._metrics.records("retried", rows_of(entries))
                self._rest()
            else:
                self._tell_back()

    def _next_batch(self) -> list[Entry]:
        """Wait for records and look at a batch. Empty exactly when the recorder is closed and nothing is left."""
        while not self._backlog.rows and not self._closing.is_set():
            self._work.clear()
            # Looked at again: a record may have come between the question and the clearing.
            if not self._backlog.rows:
                self._work.wait()
        if self._backlog.rows < self._batch:
            self._closing.wait(_LINGER_SECONDS)
        while True:
            try:
                return self._backlog.peek(self._batch)
            except BacklogDamagedError as error:
                self._drop(error.rows, str(error))

    def _insert(self, entries: Sequence[Entry]) -> None:
        """Insert the entries and forget them. One that is refused is looked for by halves: the others are no worse."""
        # Until a statement is answered, a row that is already there may be that of an attempt whose answer was lost.
        unsure, self._unsure = self._unsure, True
        try:
            new = self._store.insert(entries)
        except StoreRefusedError as error:
            self._unsure = unsure
            if len(entries) > 1:
                half = len(entries) // 2
                self._insert(entries[:half])
                self._insert(entries[half:])
                return
            self._insert_apart(split(entries[0]), str(error))
        else:
            self._unsure = False
            duplicates = 0 if unsure else rows_of(entries) - new
            self._metrics.records("recorded", rows_of(entries) - duplicates)
            self._metrics.records("duplicate", duplicates)
        self._backlog.forget(len(entries))

    def _insert_apart(self, entries: Sequence[Entry], refusal: str) -> None:
        """Insert those of one entry that are not refused. `refusal`: why all of them together were."""
        refused = entries if len(entries) == 1 else [entry for entry in entries if self._is_refused(entry)]
        self._metrics.records("recorded", rows_of(entries) - rows_of(refused))
        self._drop(rows_of(refused), refusal)

    def _is_refused(self, entry: Entry) -> bool:
        try:
            self._store.insert([entry])
        except StoreRefusedError:
            return True
        return False

    def _rest(self) -> None:
        if self._closing.wait(self._pause):
            # Set for good: it no longer makes a pause, and the last tries must not spin.
            time.sleep(_FIRST_PAUSE_SECONDS)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE_SECONDS)

    def _drop(self, rows: int, reason: str) -> None:
        self._metrics.records("dropped", rows)
        log.error("predictions were not recorded", extra=fields(records=rows, reason=reason))

    def _tell_away(self, error: Exception) -> None:
        if not self._away:
            log.warning("the database does not take records; they wait", extra=fields(error=str(error)))
        self._away = True

    def _tell_back(self) -> None:
        if self._away:
            log.info("the database takes records again", extra=fields(waiting=self._backlog.rows))
        self._away = False
        self._pause = _FIRST_PAUSE_SECONDS


def _not_kept(error: BacklogFullError) -> ProblemError:
    return ProblemError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "record-not-kept",
        f"the prediction is not given because its record could not be kept: {error}",
        headers={"Retry-After": "5"},
    )
