"""Group commit: one fsync for all callers that wait at the same time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class GroupFsync:
    """Runs `sync` in a thread, never twice at the same time. Use it in one event loop."""

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._thread = ThreadPoolExecutor(1, "sync")
        self._waiters: list[asyncio.Future[None]] = []
        self._running: asyncio.Task[None] | None = None

    async def wait(self) -> None:
        """Wait for a `sync` that started after this call. Raises what `sync` raises."""
        done = asyncio.get_running_loop().create_future()
        self._waiters.append(done)
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="sync")
        await done

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown()

    async def _run(self) -> None:
        while self._waiters:
            waiters, self._waiters = self._waiters, []
            failure: OSError | None = None
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._sync)
            except OSError as error:
                failure = error
            for done in waiters:
                # The future of a client that disconnected is cancelled.
                if done.done():
                    continue
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(failure)
        self._running = None
