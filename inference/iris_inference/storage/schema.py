"""Migrates the database schema to the one that this release needs, or checks it. Blocking."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from sqlalchemy import Connection, Engine, text

from iris_inference.logs import fields
from iris_inference.storage import partitions

log = logging.getLogger(__name__)

# The revisions in migrations/versions, oldest first. An unlisted revision is from a newer release.
REVISIONS: Final = ("0001", "0002", "0003", "0004")
HEAD: Final = REVISIONS[-1]
DAYS_AHEAD: Final = 7

# The key of the advisory lock, the same in every pod and command: only one of them changes the schema at a time.
_ADVISORY_LOCK: Final = 7_210_614
# Migrating a large table takes long; the connection's own statement timeout is for inserts.
_STATEMENT_TIMEOUT_MS: Final = 600_000
_LOCK_TIMEOUT_MS: Final = 60_000
# Alembic keeps its state in global variables.
_alembic_lock: Final = threading.Lock()

SchemaMode = Literal["migrate", "wait"]


class TablesMissingError(Exception):
    """The schema is not the one of this release, and this process must not migrate it; the message has the remedy."""


def revision(connection: Connection) -> str | None:
    """The schema revision of the database; None when no migration was ever run."""
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    current: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return current


def is_compatible(current: str | None) -> bool:
    """Whether this release works with a database at the revision `current`.

    A newer one is compatible: two releases serve at the same time, so a migration may only add what older ones ignore.
    """
    return current is not None and (current == HEAD or current not in REVISIONS)


@contextmanager
def migration_transaction(engine: Engine) -> Iterator[Connection]:
    """A transaction that may change the schema, under an exclusive advisory lock."""
    with engine.begin() as connection:
        connection.execute(text(f"SET LOCAL statement_timeout = {_STATEMENT_TIMEOUT_MS}"))
        # Long enough for a running migration to finish. Locks on tables, which block inserts, keep the usual timeout.
        connection.execute(text(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
        connection.execute(text("SET LOCAL lock_timeout TO DEFAULT"))
        yield connection


def upgrade(connection: Connection, days_ahead: int = DAYS_AHEAD) -> list[str]:
    """Run the missing migrations, create the upcoming partitions and return their names.

    `connection` comes from `migration_transaction`. Does nothing when nothing is missing.
    """
    if not is_compatible(revision(connection)):
        _run_migrations(connection)
    return partitions.create(connection, partitions.upcoming_days(partitions.today(connection), days_ahead))


def ensure(engine: Engine, mode: SchemaMode) -> None:
    """Migrate the database in the mode `migrate`; in the mode `wait`, only check it.

    Raises SQLAlchemyError, and TablesMissingError when the schema is older and must not be migrated here.
    """
    with engine.begin() as connection:
        current = revision(connection)
    if is_compatible(current):
        return
    if mode == "wait":
        raise TablesMissingError(
            f"the tables are at revision {current or 'none'}, this release needs {HEAD}; "
            "run python -m iris_inference.migrate"
        )
    with migration_transaction(engine) as connection:
        created = upgrade(connection)
    log.info("the database was migrated", extra=fields(revision=HEAD, made=created))


def _run_migrations(connection: Connection) -> None:
    # Imported here: a start that needs no migration does not pay for the import.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", "iris_inference:storage/migrations")
    config.attributes["connection"] = connection
    with _alembic_lock:
        command.upgrade(config, HEAD)
