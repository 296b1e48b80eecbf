"""The tables are partitioned by day: a day is made before it comes and dropped as a whole when it is too old.

`predictions_20240131` holds the predictions of 31 January 2024, UTC, `feedback_20240131` the true labels of those
predictions, whenever they came, and `shadow_predictions_20240131` what other revisions said of copies on that day. All
functions need the lock that `schema.changing` takes.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Final

from sqlalchemy import Connection, text

# Feedback first: when days are dropped, a label never outlives its prediction.
TABLES: Final = ("feedback", "predictions", "shadow_predictions")


def name(table: str, day: date) -> str:
    """The name of a table's partition."""
    return f"{table}_{day:%Y%m%d}"


def coming(today: date, ahead: int) -> list[date]:
    """The days to have: `ahead` after today, and yesterday, for a pod whose clock is late."""
    return [today + timedelta(days=distance) for distance in range(-1, ahead + 1)]


def missing(connection: Connection, days: Iterable[date]) -> list[tuple[str, date]]:
    """Which tables lack which of the days."""
    present = set(_present(connection))
    return [(table, day) for day in days for table in TABLES if name(table, day) not in present]


def make(connection: Connection, days: Iterable[date]) -> list[str]:
    """Make the partitions of `days` that are missing, and return their names."""
    made = []
    for table, day in missing(connection, days):
        partition = name(table, day)
        # Made apart and then attached, because that does not lock out those who read and write the other days.
        connection.execute(text(f"CREATE TABLE {partition} (LIKE {table} INCLUDING ALL)"))
        connection.execute(
            text(
                f"ALTER TABLE {table} ATTACH PARTITION {partition} "
                f"FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
            )
        )
        made.append(partition)
    return made


def drop(connection: Connection, before: date) -> list[str]:
    """Drop the partitions of all days before `before`, and return their names."""
    dropped = []
    for table in TABLES:
        # Of equal length, so names compare as their days do.
        for partition in sorted(_present(connection)):
            if partition.startswith(f"{table}_") and partition < name(table, before):
                connection.execute(text(f"DROP TABLE {partition}"))
                dropped.append(partition)
    return dropped


def today(connection: Connection) -> date:
    """The day by the clock of the database, in UTC."""
    day: date = connection.execute(text("SELECT (now() AT TIME ZONE 'UTC')::date")).scalar_one()
    return day


def _present(connection: Connection) -> list[str]:
    rows = connection.execute(
        text(
            "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid "
            "WHERE inhparent IN (SELECT to_regclass(name) FROM unnest(CAST(:tables AS text[])) AS name)"
        ),
        {"tables": list(TABLES)},
    )
    return [row.relname for row in rows]
