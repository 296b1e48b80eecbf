"""Trouble that every version has at once: PostgreSQL and Redis are slow for a while.

Both commands end by themselves, whatever becomes of whoever started them, and leave nothing behind.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from iris_demo.inside import run_inside

# Far below what the releases of the silent act wait for Redis: each lookup is late, and none is given up.
REDIS_PAUSE_MILLISECONDS = 250
# From one pause to the next. Longer than a pause, or lookups would wait behind the command for the next one.
REDIS_PERIOD_SECONDS = 0.27

# Predictions and labels wait to be written for as long as somebody holds the tables, as a migration gone wrong would.
POSTGRES = """\
PGPASSWORD="$POSTGRES_PASSWORD" exec psql --quiet --host=127.0.0.1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" \
  --command="BEGIN; LOCK TABLE predictions, feedback IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({seconds}); COMMIT"
"""
# Redis answers nobody for so many milliseconds, again and again, as under somebody's slow commands.
REDIS = """\
export REDISCLI_AUTH="$REDIS_PASSWORD"
timeout {seconds} redis-cli -r -1 -i {period} CLIENT PAUSE {pause} ALL >/dev/null || [ $? = 124 ]
"""


async def slow_stores(kubeconfig: Path, namespace: str, seconds: int) -> None:
    """Make both stores slow for so many seconds, and return when they are themselves again. Raises CommandError."""
    await asyncio.gather(
        run_inside(kubeconfig, namespace, "statefulset/postgres", "postgres", "sh", "-c", _with(POSTGRES, seconds)),
        run_inside(kubeconfig, namespace, "deployment/redis", "redis", "sh", "-c", _with(REDIS, seconds)),
    )


def _with(script: str, seconds: int) -> str:
    return script.format(seconds=seconds, pause=REDIS_PAUSE_MILLISECONDS, period=REDIS_PERIOD_SECONDS)
