"""Records predictions in the background: the request only hands its rows over and never waits for the database.

What is kept while the database is away is bounded in memory; what does not fit is dropped and counted.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from iris_inference.logs import fields
from iris_inference.telemetry import Metrics

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
# A batch waits this long for company: one statement for many requests instead of one each.
_LINGER_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """One predicted flower as it is kept. `request_id` and `instance` (its place in the request) identify it."""

    request_id: str
    instance: int
    predicted_at: datetime
    model_name: str
    model_version: str
    model_digest: str
    revision: str
    features: tuple[float, ...]
    label: str
    probabilities: tuple[float, ...]


class StoreUnavailableError(Exception):
    """The database does not answer now; trying again later makes sense."""


class StoreRefusedError(Exception):
    """The database answered and will never take these rows; trying again makes no sense."""


class RecordStore(Protocol):
    """Where records end up."""

    def prepare(self) -> None:
        """Make the store ready for records. Raises StoreUnavailableError or StoreRefusedError."""
        ...

    def insert(self, records: Sequence[PredictionRecord]) -> int:
        """Write the records, each at most once ever, and return how many were new.

        Raises StoreUnavailableError or StoreRefusedError; then none was written, or all were.
        """
        ...


class Recorder(Protocol):
    """Takes records from the request's path. Never waits, never raises."""

    def submit(self, records: Sequence[PredictionRecord]) -> None:
        """Take over the records of one request."""
        ...

    def close(self, timeout_seconds: float) -> None:
        """Write what is left, for as long as `timeout_seconds` at most."""
        ...


class NoRecorder:
    """Stands in when no database is configured."""

    def submit(self, records: Sequence[PredictionRecord]) -> None:
        """Nothing is kept."""

    def close(self, timeout_seconds: float) -> None:
        """Nothing is left."""


class BatchRecorder:
    """A bounded buffer in memory and one thread that empties it into the store."""

    def __init__(self, store: RecordStore, metrics: Metrics, capacity: int, batch: int) -> None:
        self._store = store
        self._metrics = metrics
        self._capacity = capacity
        self._batch = batch
        self._waiting: deque[PredictionRecord] = deque()
        self._changed = threading.Condition()
        # Set when the process is about to end: from then on nothing lingers, and pauses end early.
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._away = False
        # A daemon: a database that hangs must not keep a process from ending.
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def submit(self, records: Sequence[PredictionRecord]) -> None:
        """Take over the records of one request, all or, when there is no room or the recorder is closed, none."""
        with self._changed:
            taken = len(self._waiting) + len(records) <= self._capacity and not self._closing.is_set()
            if taken:
                self._waiting.extend(records)
                self._changed.notify()
        if not taken:
            self._metrics.records("dropped", len(records))

    def close(self, timeout_seconds: float) -> None:
        """Write what is left; what cannot be written in time is dropped, counted and told."""
        self._deadline = time.monotonic() + timeout_seconds
        self._closing.set()
        with self._changed:
            self._changed.notify()
        self._thread.join(timeout_seconds + 1)
        if self._thread.is_alive():
            log.error("the database hangs; the last batch of records is abandoned")

    def _run(self) -> None:
        try:
            # Not left to the first record: a wrong address or password shows in the log at the start.
            self._store.prepare()
        except (StoreUnavailableError, StoreRefusedError) as error:
            self._tell_away(error)
        while records := self._next_batch():
            self._write(records)

    def _next_batch(self) -> list[PredictionRecord]:
        """Wait for records and take a batch. Empty exactly when the recorder is closed and nothing is left."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing.is_set())
            if len(self._waiting) < self._batch and not self._closing.is_set():
                self._changed.wait_for(
                    lambda: len(self._waiting) >= self._batch or self._closing.is_set(), _LINGER_SECONDS
                )
            return [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]

    def _write(self, records: list[PredictionRecord]) -> None:
        """Write one batch, however often it takes, until the deadline."""
        pause = _FIRST_PAUSE_SECONDS
        retried = False
        while True:
            try:
                new = self._store.insert(records)
            except StoreUnavailableError as error:
                self._tell_away(error)
                if time.monotonic() >= self._deadline:
                    self._drop(records, "the process ends while the database is away")
                    return
                self._metrics.records("retried", len(records))
                retried = True
                if self._closing.wait(pause):
                    # Set for good: it no longer makes a pause, and the last tries must not spin.
                    time.sleep(_FIRST_PAUSE_SECONDS)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            except StoreRefusedError as error:
                self._drop(records, str(error))
                return
            else:
                self._tell_back()
                # After a retry, a row that is already there is the one of the attempt whose answer was lost.
                duplicates = 0 if retried else len(records) - new
                self._metrics.records("recorded", len(records) - duplicates)
                self._metrics.records("duplicate", duplicates)
                return

    def _drop(self, records: list[PredictionRecord], reason: str) -> None:
        self._metrics.records("dropped", len(records))
        log.error("predictions were not recorded", extra=fields(records=len(records), reason=reason))

    def _tell_away(self, error: Exception) -> None:
        if not self._away:
            log.warning("the database is away; records wait in memory", extra=fields(error=str(error)))
        self._away = True

    def _tell_back(self) -> None:
        if self._away:
            log.info("the database is back")
        self._away = False
