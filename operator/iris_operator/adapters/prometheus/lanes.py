"""Places for queries: how many run at the same time, so that slow ones do not take the places of others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from iris_operator.engine.ports import MetricsUnavailable


class Lane:
    """So many queries at the same time; the others wait in order, each for a limited time."""

    def __init__(self, places: int, patience_seconds: float) -> None:
        self._semaphore = asyncio.Semaphore(places)
        self._patience = patience_seconds

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place, for as long as the context lasts.

        Raises:
            MetricsUnavailable: none was free in time.
        """
        try:
            async with asyncio.timeout(self._patience):
                await self._semaphore.acquire()
        except TimeoutError as error:
            raise MetricsUnavailable(f"other queries to Prometheus took all places for {self._patience:g} s") from error
        try:
            yield
        finally:
            self._semaphore.release()
