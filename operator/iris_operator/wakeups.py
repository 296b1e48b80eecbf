"""Who must be looked at again, and when: one waiting place per release."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Hashable

Key = tuple[str, str]
"""(namespace, release)."""


class Wakeups:
    """Events of many objects become one wake-up of the release they belong to."""

    def __init__(self) -> None:
        self._events: defaultdict[Key, asyncio.Event] = defaultdict(asyncio.Event)
        self._seen: dict[Key, Hashable] = {}

    def wake(self, key: Key) -> None:
        """Something that belongs to the release has changed."""
        self._events[key].set()

    def wake_if_new(self, key: Key, fingerprint: Hashable) -> None:
        """The release itself was told of: wake only for what is not our own status write."""
        if self._seen.get(key) != fingerprint:
            self._seen[key] = fingerprint
            self.wake(key)

    async def wait(self, key: Key, seconds: float) -> None:
        """Sleep until woken, at most so many seconds; a wake-up during a pass ends the next wait at once."""
        event = self._events[key]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), timeout=seconds)
        event.clear()

    def forget(self, key: Key) -> None:
        """The release is gone."""
        self._events.pop(key, None)
        self._seen.pop(key, None)
