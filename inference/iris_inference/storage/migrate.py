"""`iris-inference migrate`: migrates the database in DATABASE_URL, creates partitions and drops expired ones.

Safe to run at any time and repeatedly, also while services write: concurrent runs wait for each other.
"""

import argparse
import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from iris_inference import logs
from iris_inference.logs import fields
from iris_inference.settings import DatabaseSettings, SettingsError, read_settings
from iris_inference.storage import partitions, schema
from iris_inference.storage.postgres import connect, describe_error

log = logging.getLogger(__name__)

EXIT_OK: Final = 0
EXIT_UNAVAILABLE: Final = 1
EXIT_USAGE: Final = 2

_RETRY_SECONDS: Final = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0 success, 1 database unavailable, 2 wrong settings or arguments."""
    return execute(build_parser().parse_args(arguments))


def execute(options: argparse.Namespace) -> int:
    """Run the command with parsed arguments. Returns the exit code."""
    logs.configure("INFO")
    try:
        url = read_settings(DatabaseSettings).database_url
    except SettingsError as error:
        log.critical("wrong settings", extra=fields(variables=str(error).splitlines()))
        return EXIT_USAGE
    if url is None:
        log.critical("wrong settings", extra=fields(variables=["DATABASE_URL: is required"]))
        return EXIT_USAGE
    deadline = time.monotonic() + options.wait_seconds
    while True:
        try:
            run(url.get_secret_value(), options.days_ahead, options.keep_days)
        except SQLAlchemyError as error:
            log.warning("the database is not available", extra=fields(error=describe_error(error)))
            if time.monotonic() >= deadline:
                return EXIT_UNAVAILABLE
            time.sleep(_RETRY_SECONDS)
        else:
            return EXIT_OK


def run(url: str, days_ahead: int = schema.DAYS_AHEAD, keep_days: int | None = None) -> None:
    """Migrate, create the upcoming partitions, and drop those before the last `keep_days`. Raises SQLAlchemyError."""
    engine = connect(url)
    try:
        with schema.migration_transaction(engine) as connection:
            before = schema.revision(connection)
            made = schema.upgrade(connection, days_ahead)
            dropped: list[str] = []
            if keep_days is not None:
                first_day = partitions.today(connection) - timedelta(days=keep_days - 1)
                dropped = partitions.drop(connection, first_day)
            after = schema.revision(connection)
    finally:
        engine.dispose()
    log.info("migrated", extra=fields(before=before, after=after, made=made, dropped=dropped))


def build_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(prog="iris_inference.migrate", description=__doc__)
    add_arguments(parser)
    return parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to another command's parser."""
    parser.add_argument(
        "--days-ahead", type=_days, default=schema.DAYS_AHEAD, metavar="N", help="partitions to create (default: 7)"
    )
    parser.add_argument(
        "--keep-days",
        type=_days,
        metavar="N",
        help="drop the partitions before the last N days, today included (default: drop none)",
    )
    parser.add_argument("--wait-seconds", type=float, default=60, metavar="S", help="how long to retry (default: 60)")


def _days(argument: str) -> int:
    days = int(argument)
    if not 1 <= days <= 3_650:  # noqa: PLR2004 - ten years
        raise argparse.ArgumentTypeError("must be between 1 and 3650")
    return days
