"""Predictions and feedback in PostgreSQL, through SQLAlchemy. Blocking: use it in threads, never in the event loop."""

import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Final

import psycopg2
from psycopg2.errors import UniqueViolation
from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from iris_inference.prediction.feedback import FeedbackResult, FeedbackState
from iris_inference.recording import copy_format
from iris_inference.recording.copy_format import COLUMNS, HEADER, TRAILER
from iris_inference.recording.record import Entry, StoreRefusedError, StoreUnavailableError
from iris_inference.storage import partitions, schema
from iris_inference.storage.postgres import connect, describe_error
from iris_inference.storage.schema import SchemaMode, TablesMissingError

_COPY: Final = f"COPY {{table}} ({', '.join(COLUMNS)}) FROM STDIN WITH (FORMAT binary)"
# Dropped with its transaction. COPY itself has no ON CONFLICT.
_CREATE_INCOMING: Final = text("CREATE TEMPORARY TABLE incoming (LIKE predictions) ON COMMIT DROP")
_INSERT_NEW: Final = "INSERT INTO {table} SELECT * FROM incoming ON CONFLICT DO NOTHING"
# A client may reuse a request id on another day; a label applies to the last use.
_FIND_PREDICTION: Final = text("""
    SELECT label, revision, predicted_on FROM predictions WHERE request_id = :request_id AND instance = :instance
    ORDER BY predicted_on DESC LIMIT 1
""")
_FIND_CANARY_LABEL: Final = text("""
    SELECT canary_label FROM shadow_pairs
    WHERE request_id = :request_id AND instance = :instance AND canary_revision = :canary
    ORDER BY predicted_on DESC LIMIT 1
""")
_ADD_LABEL: Final = text("""
    INSERT INTO feedback (request_id, instance, predicted_on, label)
    VALUES (:request_id, :instance, :predicted_on, :label) ON CONFLICT DO NOTHING RETURNING label
""")
_FIND_LABEL: Final = text("""
    SELECT label FROM feedback
    WHERE request_id = :request_id AND instance = :instance AND predicted_on = :predicted_on
""")

_EPOCH: Final = date(1970, 1, 1).toordinal()
_SECONDS_A_DAY: Final = 86_400


class Database:
    """One PostgreSQL database.

    In the mode `migrate` the first call that reaches the database migrates its schema. In the mode `wait` nothing is
    written until another process has migrated it, and only the daily partitions are created here.
    """

    def __init__(self, url: str, mode: SchemaMode = "migrate") -> None:
        self._engine = connect(url)
        self._mode = mode
        self._schema_ready = False
        self._known_days: set[date] = set()
        self._mutex = threading.Lock()

    def prepare(self) -> None:
        """Check the schema; in the mode `migrate`, migrate it. Raises StoreUnavailableError or StoreRefusedError."""
        with self._transaction():
            pass

    def insert(self, entries: Sequence[Entry], table: str = "predictions") -> int:
        """Insert the rows of the entries, each at most once, and return the number of new ones.

        Raises StoreUnavailableError or StoreRefusedError; then no row was written, or all were.
        """
        rows = b"".join([HEADER, *map(copy_format.to_rows, entries), TRAILER])
        days = {date.fromordinal(_EPOCH + int(entry.predicted_at // _SECONDS_A_DAY)) for entry in entries}
        try:
            with self._transaction(days) as connection:
                return _copy(connection, rows, table)
        except _DuplicateRowError:
            # Some rows exist already. A temporary table separates them from the new ones, at twice the cost.
            with self._transaction(days) as connection:
                connection.execute(_CREATE_INCOMING)
                _copy(connection, rows, "incoming")
                return connection.execute(text(_INSERT_NEW.format(table=table))).rowcount

    def add_feedback(self, request_id: str, instance: int, label: str) -> FeedbackResult:
        """Store the true label of one prediction. The first label stays; a different one later is a contradiction.

        Raises StoreUnavailableError or StoreRefusedError.
        """
        identity = {"request_id": request_id, "instance": instance}
        with self._transaction() as connection:
            prediction = connection.execute(_FIND_PREDICTION, identity).one_or_none()
            if prediction is None:
                return FeedbackResult(FeedbackState.UNKNOWN_PREDICTION)
            identity["predicted_on"] = prediction.predicted_on
            added = connection.execute(_ADD_LABEL, {**identity, "label": label}).one_or_none()
            state = FeedbackState.ACCEPTED
            if added is None:
                stored = connection.execute(_FIND_LABEL, identity).scalar_one()
                state = FeedbackState.REPEATED if stored == label else FeedbackState.CONTRADICTED
            return FeedbackResult(state, prediction.label, prediction.revision)

    def canary_label(self, request_id: str, instance: int, canary: str) -> str | None:
        """The label that the revision `canary` predicted for the mirrored request; None when it received none.

        Raises StoreUnavailableError or StoreRefusedError.
        """
        identity = {"request_id": request_id, "instance": instance, "canary": canary}
        with self._transaction() as connection:
            label: str | None = connection.scalar(_FIND_CANARY_LABEL, identity)
            return label

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, days: set[date] | None = None) -> Iterator[Connection]:
        try:
            self._ensure_tables(days or set())
            with self._engine.begin() as connection:
                yield connection
        except UniqueViolation as error:
            raise _DuplicateRowError from error
        # COPY bypasses SQLAlchemy, so its errors are the driver's own.
        except (DataError, IntegrityError, psycopg2.DataError, psycopg2.IntegrityError) as error:
            if not _is_missing_partition(error):
                raise StoreRefusedError(describe_error(error)) from error
            self._reset_schema_state()
            raise StoreUnavailableError(describe_error(error)) from error
        except (SQLAlchemyError, psycopg2.Error) as error:
            # Whatever the error was, the next call checks the schema again: the database may be a new, empty one.
            self._reset_schema_state()
            raise StoreUnavailableError(describe_error(error)) from error

    def _ensure_tables(self, days: set[date]) -> None:
        with self._mutex:
            if not self._schema_ready:
                try:
                    schema.ensure(self._engine, self._mode)
                except TablesMissingError as error:
                    raise StoreUnavailableError(str(error)) from None
                self._schema_ready = True
            if not days <= self._known_days:
                self._ensure_days(days)
                self._known_days |= days

    def _reset_schema_state(self) -> None:
        with self._mutex:
            self._schema_ready = False
            self._known_days.clear()

    def _ensure_days(self, days: set[date]) -> None:
        with self._engine.begin() as connection:
            if not partitions.missing(connection, days):
                return
        with schema.migration_transaction(self._engine) as connection:
            ahead = partitions.upcoming_days(max(days), schema.DAYS_AHEAD)
            partitions.create(connection, sorted(days.union(ahead)))


class _DuplicateRowError(Exception):
    """A row of a COPY exists already, so none was written."""


def _copy(connection: Connection, rows: bytes, table: str) -> int:
    """Copy the rows into a table and return their number."""
    cursor = connection.connection.cursor()
    cursor.copy_expert(_COPY.format(table=table), io.BytesIO(rows), len(rows))
    return int(cursor.rowcount)


def _is_missing_partition(error: Exception) -> bool:
    """Whether a row was rejected because the partition of its day does not exist, as after it was dropped."""
    original = getattr(error, "orig", error)
    constraint = getattr(getattr(original, "diag", None), "constraint_name", None)
    return getattr(original, "pgcode", None) == "23514" and constraint is None
