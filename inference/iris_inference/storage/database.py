"""Predictions and feedback in PostgreSQL, through SQLAlchemy. Blocking: for threads, never for the event loop."""

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

from iris_inference import copyrows, partitions, schema
from iris_inference.copyrows import COLUMNS, HEADER, TRAILER
from iris_inference.feedback import FeedbackResult, FeedbackState
from iris_inference.postgres import connect, told
from iris_inference.records import Entry, StoreRefusedError, StoreUnavailableError
from iris_inference.schema import SchemaMode, TablesMissingError

_COPY: Final = f"COPY {{table}} ({', '.join(COLUMNS)}) FROM STDIN WITH (FORMAT binary)"
# Ends with its transaction. COPY itself knows no ON CONFLICT.
_MAKE_INCOMING: Final = text("CREATE TEMPORARY TABLE incoming (LIKE predictions) ON COMMIT DROP")
_TAKE_NEW: Final = "INSERT INTO {table} SELECT * FROM incoming ON CONFLICT DO NOTHING"
# A client may use a request id again on another day; a label is about the last use.
_FIND: Final = text("""
    SELECT label, revision, predicted_on FROM predictions WHERE request_id = :request_id AND instance = :instance
    ORDER BY predicted_on DESC LIMIT 1
""")
_FIND_COPY: Final = text("""
    SELECT canary_label FROM shadow_pairs
    WHERE request_id = :request_id AND instance = :instance AND canary_revision = :canary
    ORDER BY predicted_on DESC LIMIT 1
""")
_ADD_LABEL: Final = text("""
    INSERT INTO feedback (request_id, instance, predicted_on, label)
    VALUES (:request_id, :instance, :predicted_on, :label) ON CONFLICT DO NOTHING RETURNING label
""")
_KEPT_LABEL: Final = text("""
    SELECT label FROM feedback
    WHERE request_id = :request_id AND instance = :instance AND predicted_on = :predicted_on
""")

_FIRST_DAY: Final = date(1970, 1, 1).toordinal()
_SECONDS_A_DAY: Final = 86_400


class Database:
    """One PostgreSQL database.

    With the mode `migrate` the first call that reaches it brings its tables to this release; with `wait` nothing is
    written until somebody else has, and only the partitions of days are made here.
    """

    def __init__(self, url: str, mode: SchemaMode = "migrate") -> None:
        self._engine = connect(url)
        self._mode = mode
        self._schema_ready = False
        self._days: set[date] = set()
        self._mutex = threading.Lock()

    def prepare(self) -> None:
        """Look at the tables; in the mode `migrate`, make them. Raises StoreUnavailableError or StoreRefusedError."""
        with self._transaction():
            pass

    def insert(self, entries: Sequence[Entry], table: str = "predictions") -> int:
        """Write the flowers of the entries, each at most once ever, and return how many were new.

        Raises StoreUnavailableError or StoreRefusedError; then none was written, or all were.
        """
        rows = b"".join([HEADER, *map(copyrows.rows, entries), TRAILER])
        days = {date.fromordinal(_FIRST_DAY + int(entry.at // _SECONDS_A_DAY)) for entry in entries}
        try:
            with self._transaction(days) as connection:
                return _copy(connection, rows, table)
        except _RepeatedError:
            # Some of them are there already. They are told apart in a table aside, which costs as much again.
            with self._transaction(days) as connection:
                connection.execute(_MAKE_INCOMING)
                _copy(connection, rows, "incoming")
                return connection.execute(text(_TAKE_NEW.format(table=table))).rowcount

    def add_feedback(self, request_id: str, instance: int, label: str) -> FeedbackResult:
        """Keep the true label of one prediction. The first one stays; a different one later is a contradiction.

        Raises StoreUnavailableError or StoreRefusedError.
        """
        identity = {"request_id": request_id, "instance": instance}
        with self._transaction() as connection:
            found = connection.execute(_FIND, identity).one_or_none()
            if found is None:
                return FeedbackResult(FeedbackState.UNKNOWN_PREDICTION)
            identity["predicted_on"] = found.predicted_on
            added = connection.execute(_ADD_LABEL, {**identity, "label": label}).one_or_none()
            state = FeedbackState.ACCEPTED
            if added is None:
                kept = connection.execute(_KEPT_LABEL, identity).scalar_one()
                state = FeedbackState.REPEATED if kept == label else FeedbackState.CONTRADICTED
            return FeedbackResult(state, found.label, found.revision)

    def label_of_copy(self, request_id: str, instance: int, canary: str) -> str | None:
        """What the revision `canary` said of a copy of the same request; None when it got none.

        Raises StoreUnavailableError or StoreRefusedError.
        """
        identity = {"request_id": request_id, "instance": instance, "canary": canary}
        with self._transaction() as connection:
            label: str | None = connection.scalar(_FIND_COPY, identity)
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
            raise _RepeatedError from error
        # COPY goes past SQLAlchemy, so its errors are the driver's own.
        except (DataError, IntegrityError, psycopg2.DataError, psycopg2.IntegrityError) as error:
            if not _lacks_partition(error):
                raise StoreRefusedError(told(error)) from error
            self._forget_tables()
            raise StoreUnavailableError(told(error)) from error
        except (SQLAlchemyError, psycopg2.Error) as error:
            # Whatever it was, the next call looks for the tables again: the database may be a new, empty one.
            self._forget_tables()
            raise StoreUnavailableError(told(error)) from error

    def _ensure_tables(self, days: set[date]) -> None:
        with self._mutex:
            if not self._schema_ready:
                try:
                    schema.ensure(self._engine, self._mode)
                except TablesMissingError as error:
                    raise StoreUnavailableError(str(error)) from None
                self._schema_ready = True
            if not days <= self._days:
                self._ensure_days(days)
                self._days |= days

    def _forget_tables(self) -> None:
        with self._mutex:
            self._schema_ready = False
            self._days.clear()

    def _ensure_days(self, days: set[date]) -> None:
        with self._engine.begin() as connection:
            if not partitions.missing(connection, days):
                return
        with schema.changing(self._engine) as connection:
            ahead = partitions.coming(max(days), schema.DAYS_AHEAD)
            partitions.make(connection, sorted(days.union(ahead)))


class _RepeatedError(Exception):
    """A row of a COPY is there already, so none was written."""


def _copy(connection: Connection, rows: bytes, table: str) -> int:
    """Copy the rows into a table and return how many they were."""
    cursor = connection.connection.cursor()
    cursor.copy_expert(_COPY.format(table=table), io.BytesIO(rows), len(rows))
    return int(cursor.rowcount)


def _lacks_partition(error: Exception) -> bool:
    """Whether a row was refused because its day is not there, as after a drop that was too eager."""
    original = getattr(error, "orig", error)
    constraint = getattr(getattr(original, "diag", None), "constraint_name", None)
    return getattr(original, "pgcode", None) == "23514" and constraint is None
