"""Predictions and feedback in PostgreSQL, through SQLAlchemy. Blocking: for threads, never for the event loop."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final

from sqlalchemy import (
    ARRAY,
    Column,
    Connection,
    DateTime,
    Double,
    ForeignKeyConstraint,
    MetaData,
    SmallInteger,
    Table,
    Text,
    create_engine,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from iris_inference.feedback import FeedbackResult, FeedbackState
from iris_inference.records import PredictionRecord, StoreRefusedError, StoreUnavailableError

log = logging.getLogger(__name__)

# One for the recorder's thread, the rest for feedback.
POOL_SIZE: Final = 3
# Any number, the same in every pod: it keeps two starting pods from creating the same table at once.
_SCHEMA_LOCK: Final = 7_210_614

_metadata = MetaData()

predictions = Table(
    "predictions",
    _metadata,
    Column("request_id", Text, primary_key=True),
    Column("instance", SmallInteger, primary_key=True),
    Column("predicted_at", DateTime(timezone=True), nullable=False, index=True),
    Column("model_name", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("model_digest", Text, nullable=False),
    Column("revision", Text, nullable=False),
    Column("features", ARRAY(Double), nullable=False),
    Column("label", Text, nullable=False),
    Column("probabilities", ARRAY(Double), nullable=False),
)

feedback = Table(
    "feedback",
    _metadata,
    Column("request_id", Text, primary_key=True),
    Column("instance", SmallInteger, primary_key=True),
    Column("label", Text, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    ForeignKeyConstraint(["request_id", "instance"], ["predictions.request_id", "predictions.instance"]),
)


class Database:
    """One PostgreSQL database. Creates its tables when they are missing, at the first call that reaches it."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(
            url,
            pool_size=POOL_SIZE,
            max_overflow=0,
            # A connection that died while it was idle is noticed and replaced, not handed out.
            pool_pre_ping=True,
            pool_timeout=2,
            connect_args={
                "connect_timeout": 2,
                # Ends the wait for a server that is gone without a word (ms without an acknowledgement).
                "tcp_user_timeout": 5_000,
                "options": "-c statement_timeout=5000 -c lock_timeout=3000",
                "application_name": "iris-inference",
            },
        )
        self._schema_ready = False
        self._schema_mutex = threading.Lock()

    def prepare(self) -> None:
        """Create the tables that are missing. Raises StoreUnavailableError or StoreRefusedError."""
        with self._transaction():
            pass

    def insert(self, records: Sequence[PredictionRecord]) -> int:
        """Write the records, each at most once ever, and return how many were new.

        Raises StoreUnavailableError or StoreRefusedError; then none was written, or all were.
        """
        statement = insert(predictions).on_conflict_do_nothing().returning(predictions.c.request_id)
        with self._transaction() as connection:
            return len(connection.execute(statement, [asdict(record) for record in records]).all())

    def add_feedback(self, request_id: str, instance: int, label: str) -> FeedbackResult:
        """Keep the true label of one prediction. The first one stays; a different one later is a contradiction.

        Raises StoreUnavailableError or StoreRefusedError.
        """
        identity = {"request_id": request_id, "instance": instance}
        with self._transaction() as connection:
            found = connection.execute(
                select(predictions.c.label, predictions.c.revision).filter_by(**identity)
            ).one_or_none()
            if found is None:
                return FeedbackResult(FeedbackState.UNKNOWN_PREDICTION)
            added = connection.execute(
                insert(feedback).values(**identity, label=label).on_conflict_do_nothing().returning(feedback.c.label)
            ).one_or_none()
            state = FeedbackState.ACCEPTED
            if added is None:
                kept = connection.execute(select(feedback.c.label).filter_by(**identity)).scalar_one()
                state = FeedbackState.REPEATED if kept == label else FeedbackState.CONTRADICTED
            return FeedbackResult(state, found.label, found.revision)

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            self._ensure_schema()
            with self._engine.begin() as connection:
                yield connection
        except (DataError, IntegrityError) as error:
            raise StoreRefusedError(_told(error)) from error
        except SQLAlchemyError as error:
            # Whatever it was, the next call looks for the tables again: the database may be a new, empty one.
            self._schema_ready = False
            raise StoreUnavailableError(_told(error)) from error

    def _ensure_schema(self) -> None:
        with self._schema_mutex:
            if self._schema_ready:
                return
            with self._engine.begin() as connection:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _SCHEMA_LOCK})
                _metadata.create_all(connection)
            self._schema_ready = True


def _told(error: SQLAlchemyError) -> str:
    """The driver's own words without the statement and its values."""
    original = getattr(error, "orig", None)
    return " ".join(str(original or error).split())
