"""Kopf's watches: one that has failed is not started again by Kopf, which goes on without it and says nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

# The name that Kopf gives to the task of a watch.
_PREFIX = "watcher for "
_POLL_SECONDS = 2.0


async def await_failed_watch(sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Return when a watch has failed: its CRD was removed, or the right to it."""
    watches: dict[str, asyncio.Task[object]] = {}
    while True:
        watches |= {task.get_name(): task for task in asyncio.all_tasks() if task.get_name().startswith(_PREFIX)}
        failed = sorted(name for name, task in watches.items() if task.done() and not task.cancelled())
        if failed:
            log.error("%s has failed; all watches start again", ", ".join(failed))
            return
        await sleep(_POLL_SECONDS)
