"""An incident that affects every version: PostgreSQL and Redis are slow for a while.

Both commands end by themselves even when their parent dies, and leave nothing behind.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from iris_demo.exec import exec_in_container

# Far below the Redis timeout of the releases of the silent scenario: every lookup is late, and none times out.
REDIS_PAUSE_MILLISECONDS = 250
# From one pause to the next. Longer than a pause, or lookups would wait behind the command for the next one.
REDIS_PERIOD_SECONDS = 0.27

# Writes of predictions and labels wait while the tables are locked, as during a failed migration.
POSTGRES_SCRIPT = """\
PGPASSWORD="$POSTGRES_PASSWORD" exec psql --quiet --host=127.0.0.1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" \
  --command="BEGIN; LOCK TABLE predictions, feedback IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({seconds}); COMMIT"
"""
# Redis repeatedly answers no client for so many milliseconds, as under slow commands.
REDIS_SCRIPT = """\
export REDISCLI_AUTH="$REDIS_PASSWORD"
timeout {seconds} redis-cli -r -1 -i {period} CLIENT PAUSE {pause} ALL >/dev/null || [ $? = 124 ]
"""


async def slow_down_stores(kubeconfig: Path, namespace: str, seconds: int) -> None:
    """Make both stores slow for so many seconds; return when they work normally again. Raises CommandError."""
    await asyncio.gather(
        exec_in_container(
            kubeconfig, namespace, "statefulset/postgres", "postgres", "sh", "-c", _render(POSTGRES_SCRIPT, seconds)
        ),
        exec_in_container(
            kubeconfig, namespace, "deployment/redis", "redis", "sh", "-c", _render(REDIS_SCRIPT, seconds)
        ),
    )


def _render(script: str, seconds: int) -> str:
    return script.format(seconds=seconds, pause=REDIS_PAUSE_MILLISECONDS, period=REDIS_PERIOD_SECONDS)
