"""`python -m iris_inference.migrate`: brings the database in DATABASE_URL to this release, and keeps its days in order.

Safe to run at any time and any number of times, also while services write: one run at a time does anything.
"""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from iris_inference import logs, partitions, schema
from iris_inference.logs import fields
from iris_inference.postgres import connect, told
from iris_inference.settings import DatabaseSettings, SettingsError, read_settings

log = logging.getLogger(__name__)

DONE: Final = 0
UNAVAILABLE: Final = 1
WRONG_SETTINGS: Final = 2

_PAUSE_SECONDS: Final = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0 done, 1 the database did not let it, 2 wrong settings or arguments."""
    return execute(parser().parse_args(arguments))


def execute(options: argparse.Namespace) -> int:
    """Run the command with arguments that were parsed. Returns the exit code."""
    logs.configure("INFO")
    try:
        url = read_settings(DatabaseSettings).database_url
    except SettingsError as error:
        log.critical("wrong settings", extra=fields(variables=str(error).splitlines()))
        return WRONG_SETTINGS
    if url is None:
        log.critical("wrong settings", extra=fields(variables=["DATABASE_URL: is needed to know what to migrate"]))
        return WRONG_SETTINGS
    deadline = time.monotonic() + options.wait_seconds
    while True:
        try:
            run(url.get_secret_value(), options.days_ahead, options.keep_days)
        except SQLAlchemyError as error:
            log.warning("the database does not let it", extra=fields(error=told(error)))
            if time.monotonic() >= deadline:
                return UNAVAILABLE
            time.sleep(_PAUSE_SECONDS)
        else:
            return DONE


def run(url: str, days_ahead: int = schema.DAYS_AHEAD, keep_days: int | None = None) -> None:
    """Migrate, make the coming days, and drop those before the last `keep_days`. Raises SQLAlchemyError."""
    engine = connect(url)
    try:
        with schema.changing(engine) as connection:
            before = schema.revision(connection)
            made = schema.upgrade(connection, days_ahead)
            dropped: list[str] = []
            if keep_days is not None:
                first_kept = partitions.today(connection) - timedelta(days=keep_days - 1)
                dropped = partitions.drop(connection, first_kept)
            after = schema.revision(connection)
    finally:
        engine.dispose()
    log.info("migrated", extra=fields(before=before, after=after, made=made, dropped=dropped))


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser(prog="iris_inference.migrate", description=__doc__)
    add_arguments(made)
    return made


def add_arguments(made: argparse.ArgumentParser) -> None:
    """Add the command's arguments to another command's parser."""
    made.add_argument(
        "--days-ahead", type=_days, default=schema.DAYS_AHEAD, metavar="N", help="partitions to make (default: 7)"
    )
    made.add_argument(
        "--keep-days",
        type=_days,
        metavar="N",
        help="drop the days before the last N, today included (default: drop nothing)",
    )
    made.add_argument("--wait-seconds", type=float, default=60, metavar="S", help="how long to try again (default: 60)")


def _days(argument: str) -> int:
    days = int(argument)
    if not 1 <= days <= 3_650:  # noqa: PLR2004 - ten years are all that anybody means
        raise argparse.ArgumentTypeError("must be between 1 and 3650")
    return days


if __name__ == "__main__":
    sys.exit(main())
