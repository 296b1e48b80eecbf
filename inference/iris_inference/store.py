"""Predictions and feedback in PostgreSQL, through SQLAlchemy. Blocking: for threads, never for the event loop."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from iris_inference import partitions, schema
from iris_inference.feedback import FeedbackResult, FeedbackState
from iris_inference.postgres import connect, told
from iris_inference.records import Entry, StoreRefusedError, StoreUnavailableError
from iris_inference.schema import SchemaMode, TablesMissingError

# PostgreSQL takes the records apart: rendering a row's eleven values here would cost more than all else about it.
_INSERT: Final = text("""
    INSERT INTO predictions (request_id, instance, predicted_on, predicted_at, model_name, model_version, model_digest,
                             revision, features, label, probabilities)
    SELECT request_id, place - 1, (predicted_at AT TIME ZONE 'UTC')::date, predicted_at, model_name, model_version,
           model_digest, revision, features, label, probabilities
    FROM json_to_recordset(CAST(:records AS json))
         AS record(request_id text, predicted_at timestamptz, model_name text, model_version text, model_digest text,
                   revision text, instances json),
         ROWS FROM (json_to_recordset(instances)
                    AS (features double precision[], label text, probabilities double precision[]))
         WITH ORDINALITY AS flower(features, label, probabilities, place)
    ON CONFLICT DO NOTHING
""")
# A client may use a request id again on another day; a label is about the last use.
_FIND: Final = text("""
    SELECT label, revision, predicted_on FROM predictions WHERE request_id = :request_id AND instance = :instance
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

    def insert(self, entries: Sequence[Entry]) -> int:
        """Write the flowers of the entries, each at most once ever, and return how many were new.

        Raises StoreUnavailableError or StoreRefusedError; then none was written, or all were.
        """
        records = b"[" + b",".join(entry.payload for entry in entries) + b"]"
        days = {datetime.fromtimestamp(entry.at, UTC).date() for entry in entries}
        with self._transaction(days) as connection:
            return connection.execute(_INSERT, {"records": records.decode()}).rowcount

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

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, days: set[date] | None = None) -> Iterator[Connection]:
        try:
            self._ensure_tables(days or set())
            with self._engine.begin() as connection:
                yield connection
        except (DataError, IntegrityError) as error:
            if not _lacks_partition(error):
                raise StoreRefusedError(told(error)) from error
            self._forget_tables()
            raise StoreUnavailableError(told(error)) from error
        except SQLAlchemyError as error:
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


def _lacks_partition(error: DataError | IntegrityError) -> bool:
    """Whether a row was refused because its day is not there, as after a drop that was too eager."""
    code = getattr(error.orig, "pgcode", None)
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    return code == "23514" and constraint is None
