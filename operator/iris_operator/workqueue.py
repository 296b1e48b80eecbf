"""Which releases must be reconciled, and when: at most one pending entry for each."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Hashable

Key = tuple[str, str]
"""(namespace, release)."""


class WorkQueue:
    """Events of many objects become one reconcile of the release that they belong to."""

    def __init__(self) -> None:
        self._events: defaultdict[Key, asyncio.Event] = defaultdict(asyncio.Event)
        self._fingerprints: dict[Key, Hashable] = {}

    def add(self, key: Key) -> None:
        """Request a reconcile: something that belongs to the release has changed."""
        self._events[key].set()

    def add_all(self) -> None:
        """Request a reconcile of every release that is known."""
        for event in self._events.values():
            event.set()

    def add_if_changed(self, key: Key, fingerprint: Hashable) -> None:
        """Request a reconcile unless the fingerprint is the last one, as after the operator's own status write."""
        if self._fingerprints.get(key) != fingerprint:
            self._fingerprints[key] = fingerprint
            self.add(key)

    async def wait(self, key: Key, seconds: float) -> None:
        """Wait for a request, at most so many seconds; one that came during a reconcile ends the next wait at once."""
        event = self._events[key]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), timeout=seconds)
        event.clear()

    def forget(self, key: Key) -> None:
        """Drop a release that is gone."""
        self._events.pop(key, None)
        self._fingerprints.pop(key, None)
