"""Writes records from the backlog to the database, in a thread of its own."""

import logging
import threading
import time
from collections.abc import Sequence
from typing import Final

from iris_inference.logs import fields
from iris_inference.recording.copy_format import split_by_request
from iris_inference.recording.record import (
    Backlog,
    BacklogDamagedError,
    BacklogFullError,
    Entry,
    RecordCounts,
    RecordNotKeptError,
    RecordStore,
    Refusal,
    StoreRefusedError,
    StoreUnavailableError,
    count_rows,
    merge_entries,
)

log = logging.getLogger(__name__)

_INITIAL_BACKOFF_SECONDS: Final = 0.1
_MAX_BACKOFF_SECONDS: Final = 5.0
# A batch waits this long for more records: one statement for many requests instead of one each.
_LINGER_SECONDS: Final = 0.2


class BatchRecorder:
    """Writes a backlog to a store, oldest records first, however long the store is unavailable."""

    def __init__(self, store: RecordStore, backlog: Backlog, metrics: RecordCounts, batch: int) -> None:
        self._store = store
        self._backlog = backlog
        self._metrics = metrics
        self._batch = batch
        self._work_available = threading.Event()
        # Set when the process is about to end: from then on nothing lingers, and backoffs end early.
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._unavailable = False
        self._in_doubt = False
        self._backoff = _INITIAL_BACKOFF_SECONDS
        metrics.watch_backlog(backlog)
        # A daemon thread: a database that hangs must not prevent the process from ending.
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    async def submit(self, entries: Sequence[Entry]) -> Sequence[Refusal]:
        """Accept the records of several requests.

        Records that do not fit into a durable backlog are rejected, so that their predictions are not acknowledged.
        Records that do not fit into one in memory are dropped and counted.
        """
        refusals = self._append(entries)
        try:
            await self._backlog.flush()
        except BacklogFullError as error:
            refusals = [refusal or self._reject(entry, error) for entry, refusal in zip(entries, refusals, strict=True)]
        if not self._work_available.is_set():
            self._work_available.set()
        return refusals

    def _append(self, entries: Sequence[Entry]) -> list[Refusal]:
        try:
            self._backlog.append(merge_entries(entries))
        except BacklogFullError as error:
            if len(entries) == 1:
                return [self._reject(entries[0], error)]
            # Together they were too large; there may be room for some of them.
            return [refusal for entry in entries for refusal in self._append([entry])]
        return [None] * len(entries)

    def _reject(self, entry: Entry, error: BacklogFullError) -> Refusal:
        if not self._backlog.durable:
            self._metrics.records("dropped", entry.rows)
            return None
        self._metrics.records("rejected", entry.rows)
        return RecordNotKeptError(str(error))

    def close(self, timeout_seconds: float) -> None:
        """Write the remaining records. Those not written in time stay in a durable backlog, or are dropped."""
        self._deadline = time.monotonic() + timeout_seconds
        self._closing.set()
        self._work_available.set()
        self._thread.join(timeout_seconds + 1)
        remaining = self._backlog.rows
        if remaining and self._backlog.durable:
            log.error("not all records were written; some are left in the spool", extra=fields(records=remaining))
        elif remaining:
            self._drop(remaining, "the process ends while the database is unavailable")
        if self._thread.is_alive():
            log.error("the database hangs; the last batch of records is abandoned")
        else:
            self._backlog.close()

    def _run(self) -> None:
        try:
            # Before the first record, so that a wrong address or password is logged at the start.
            self._store.prepare()
        except (StoreUnavailableError, StoreRefusedError) as error:
            self._log_unavailable(error)
        while entries := self._next_batch():
            try:
                self._insert(entries)
            except StoreUnavailableError as error:
                self._log_unavailable(error)
                if time.monotonic() >= self._deadline:
                    return
                self._metrics.records("retried", count_rows(entries))
                self._back_off()
            else:
                self._log_recovered()

    def _next_batch(self) -> list[Entry]:
        """Wait for records and peek at a batch. Empty exactly when the recorder is closed and the backlog is empty."""
        while not self._backlog.rows and not self._closing.is_set():
            self._work_available.clear()
            # Checked again: a record may have been added before the event was cleared.
            if not self._backlog.rows:
                self._work_available.wait()
        if self._backlog.rows < self._batch:
            self._closing.wait(_LINGER_SECONDS)
        while True:
            try:
                return self._backlog.peek(self._batch)
            except BacklogDamagedError as error:
                self._drop(error.rows, str(error))

    def _insert(self, entries: Sequence[Entry]) -> None:
        """Insert the entries and remove them from the backlog; a rejected one is found by bisection."""
        # After a statement without a reply, a row that exists already may come from that attempt.
        in_doubt, self._in_doubt = self._in_doubt, True
        try:
            new = self._store.insert(entries)
        except StoreRefusedError as error:
            self._in_doubt = in_doubt
            if len(entries) > 1:
                half = len(entries) // 2
                self._insert(entries[:half])
                self._insert(entries[half:])
                return
            self._insert_separately(split_by_request(entries[0]), str(error))
        else:
            self._in_doubt = False
            duplicates = 0 if in_doubt else count_rows(entries) - new
            self._metrics.records("recorded", count_rows(entries) - duplicates)
            self._metrics.records("duplicate", duplicates)
        self._backlog.remove(len(entries))

    def _insert_separately(self, entries: Sequence[Entry], reason: str) -> None:
        """Insert the requests of one entry one by one. `reason`: why the store rejected them together."""
        rejected = entries if len(entries) == 1 else [entry for entry in entries if self._is_rejected(entry)]
        self._metrics.records("recorded", count_rows(entries) - count_rows(rejected))
        self._drop(count_rows(rejected), reason)

    def _is_rejected(self, entry: Entry) -> bool:
        try:
            self._store.insert([entry])
        except StoreRefusedError:
            return True
        return False

    def _back_off(self) -> None:
        if self._closing.wait(self._backoff):
            # The event stays set, so that `wait` returns at once: sleep, so that the last retries do not spin.
            time.sleep(_INITIAL_BACKOFF_SECONDS)
        self._backoff = min(self._backoff * 2, _MAX_BACKOFF_SECONDS)

    def _drop(self, rows: int, reason: str) -> None:
        self._metrics.records("dropped", rows)
        log.error("predictions were not recorded", extra=fields(records=rows, reason=reason))

    def _log_unavailable(self, error: Exception) -> None:
        if not self._unavailable:
            log.warning("the database does not accept records; they wait", extra=fields(error=str(error)))
        self._unavailable = True

    def _log_recovered(self) -> None:
        if self._unavailable:
            log.info("the database accepts records again", extra=fields(waiting=self._backlog.rows))
        self._unavailable = False
        self._backoff = _INITIAL_BACKOFF_SECONDS
