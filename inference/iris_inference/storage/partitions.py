"""Daily partitions of the tables: created in advance, and dropped as a whole when they expire.

`predictions_20240131` holds the predictions of 31 January 2024, UTC, `feedback_20240131` the true labels of those
predictions, whenever they arrived, and `shadow_predictions_20240131` the predictions of mirrored requests on that day.
All functions need the lock that `schema.migration_transaction` takes.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Final

from sqlalchemy import Connection, text

# Feedback first: when partitions are dropped, a label never outlives its prediction.
TABLES: Final = ("feedback", "predictions", "shadow_predictions")


def partition_name(table: str, day: date) -> str:
    """The name of a table's partition."""
    return f"{table}_{day:%Y%m%d}"


def upcoming_days(today: date, ahead: int) -> list[date]:
    """The days that need partitions: `ahead` days after today, and yesterday for pods whose clocks are late."""
    return [today + timedelta(days=distance) for distance in range(-1, ahead + 1)]


def missing(connection: Connection, days: Iterable[date]) -> list[tuple[str, date]]:
    """The tables and days whose partitions do not exist."""
    existing = set(_existing(connection))
    return [(table, day) for day in days for table in TABLES if partition_name(table, day) not in existing]


def create(connection: Connection, days: Iterable[date]) -> list[str]:
    """Create the missing partitions of `days`, and return their names."""
    created = []
    for table, day in missing(connection, days):
        partition = partition_name(table, day)
        # Created on its own and then attached: that does not block reads and writes of the other partitions.
        connection.execute(text(f"CREATE TABLE {partition} (LIKE {table} INCLUDING ALL)"))
        connection.execute(
            text(
                f"ALTER TABLE {table} ATTACH PARTITION {partition} "
                f"FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
            )
        )
        created.append(partition)
    return created


def drop(connection: Connection, before: date) -> list[str]:
    """Drop the partitions of all days before `before`, and return their names."""
    dropped = []
    for table in TABLES:
        # The names have equal length, so they sort by day.
        for partition in sorted(_existing(connection)):
            if partition.startswith(f"{table}_") and partition < partition_name(table, before):
                connection.execute(text(f"DROP TABLE {partition}"))
                dropped.append(partition)
    return dropped


def today(connection: Connection) -> date:
    """The current day in UTC, by the database's clock."""
    day: date = connection.execute(text("SELECT (now() AT TIME ZONE 'UTC')::date")).scalar_one()
    return day


def _existing(connection: Connection) -> list[str]:
    rows = connection.execute(
        text(
            "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid "
            "WHERE inhparent IN (SELECT to_regclass(name) FROM unnest(CAST(:tables AS text[])) AS name)"
        ),
        {"tables": list(TABLES)},
    )
    return [row.relname for row in rows]
