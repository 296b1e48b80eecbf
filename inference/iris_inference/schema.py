"""Brings a database to the tables that this release needs, or says how far it is from there. Blocking."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from sqlalchemy import Connection, Engine, text

from iris_inference import partitions
from iris_inference.logs import fields

log = logging.getLogger(__name__)

# The revisions in migrations/versions, oldest first. One that is not here is from a newer release.
REVISIONS: Final = ("0001", "0002", "0003", "0004")
HEAD: Final = REVISIONS[-1]
DAYS_AHEAD: Final = 7

# Any number, the same in every pod and command: only one of them changes the schema at a time.
_LOCK: Final = 7_210_614
# Moving a large table takes its time; the connection's own bound is for inserts.
_CHANGE_MS: Final = 600_000
_TURN_MS: Final = 60_000
# Alembic keeps what it is working on in global variables.
_alembic: Final = threading.Lock()

SchemaMode = Literal["migrate", "wait"]


class TablesMissingError(Exception):
    """The database is not at this release, and whoever found that must not change it; the message has the remedy."""


def revision(connection: Connection) -> str | None:
    """The revision of the database; None when no migration was ever run."""
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def suffices(found: str | None) -> bool:
    """Whether this release works with a database at revision `found`.

    With a newer one it does: two releases serve side by side, so a migration may only add what older ones ignore.
    """
    return found is not None and (found == HEAD or found not in REVISIONS)


@contextmanager
def changing(engine: Engine) -> Iterator[Connection]:
    """A transaction that may change tables: no other does meanwhile, and all of it is done or nothing."""
    with engine.begin() as connection:
        connection.execute(text(f"SET LOCAL statement_timeout = {_CHANGE_MS}"))
        # For whoever is at it to end. Locks on tables, which stand in the way of inserts, keep the usual bound.
        connection.execute(text(f"SET LOCAL lock_timeout = {_TURN_MS}"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        connection.execute(text("SET LOCAL lock_timeout TO DEFAULT"))
        yield connection


def upgrade(connection: Connection, days_ahead: int = DAYS_AHEAD) -> list[str]:
    """Run the migrations that are missing and make the coming days' partitions, whose names are returned.

    `connection` comes from `changing`. Does nothing when nothing is missing.
    """
    if not suffices(revision(connection)):
        _run_migrations(connection)
    return partitions.make(connection, partitions.coming(partitions.today(connection), days_ahead))


def ensure(engine: Engine, mode: SchemaMode) -> None:
    """Bring the database to this release in the mode `migrate`; in `wait`, only look.

    Raises SQLAlchemyError, and TablesMissingError when it is not there and must not be brought there.
    """
    with engine.begin() as connection:
        found = revision(connection)
    if suffices(found):
        return
    if mode == "wait":
        raise TablesMissingError(
            f"the tables are at revision {found or 'none'}, this release needs {HEAD}; "
            "run python -m iris_inference.migrate"
        )
    with changing(engine) as connection:
        made = upgrade(connection)
    log.info("the tables were brought to this release", extra=fields(revision=HEAD, made=made))


def _run_migrations(connection: Connection) -> None:
    # Imported where it is used: a start that finds the tables there need not pay for it.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", "iris_inference:migrations")
    config.attributes["connection"] = connection
    with _alembic:
        command.upgrade(config, HEAD)
