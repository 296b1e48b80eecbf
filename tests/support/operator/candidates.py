"""Operators that compete for a lease in virtual time, over an API server that is slow, away, or loses answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from iris_operator.election import Lease, Timing
from iris_operator.leadership import LeaseChanged, LeaseLeadership


def now() -> float:
    """True time, in virtual seconds."""
    return asyncio.get_running_loop().time()


@dataclass
class LeaseServer:
    """Stores one lease. `latency` is that of a request, half of it before it is carried out."""

    latency: Callable[[], float] = lambda: 0.01
    loses_answer: Callable[[], bool] = lambda: False
    away: bool = False
    stored: Lease = field(default_factory=Lease)
    holders: list[tuple[float, str]] = field(default_factory=list)
    """Each change of the holder: when, and to whom."""
    _version: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def commit(self, lease: Lease) -> Lease:
        if lease.version != self.stored.version:
            raise LeaseChanged
        self._version += 1
        if lease.holder != self.stored.holder:
            self.holders.append((now(), lease.holder))
            self._changed.set()
            self._changed = asyncio.Event()
        self.stored = replace(lease, version=str(self._version))
        return self.stored

    async def wait_for(self, holder: str, seconds: float = 60.0) -> float:
        """Wait until somebody holds the lease; returns when it got it."""
        async with asyncio.timeout(seconds):
            while self.stored.holder != holder:
                await self._changed.wait()
        return self.holders[-1][0]


class Candidate:
    """One process: its own clock, of its own rate, and it may be stopped and continued."""

    def __init__(self, name: str, server: LeaseServer, timing: Timing | None = None, *, rate: float = 1.0) -> None:
        self.name = name
        self.changes: list[bool] = []
        self._server = server
        self._rate = rate
        self._runs = asyncio.Event()
        self._runs.set()
        self._stopped_clock_at: float | None = None
        self._lost = 0.0
        self.leadership = LeaseLeadership(
            self, name, clock=self.clock, timing=timing, sleep=self._sleep, on_change=self.changes.append
        )
        self._task = asyncio.create_task(self.leadership.run())

    # -- what the process sees

    def clock(self) -> float:
        true = now() if self._stopped_clock_at is None else self._stopped_clock_at
        return 1000.0 + self._rate * (true - self._lost)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._rate)
        await self._runs.wait()

    async def read(self, seconds: float) -> Lease:
        return await self._request(lambda: self._server.stored, seconds)

    async def write(self, lease: Lease, seconds: float) -> Lease:
        return await self._request(lambda: self._server.commit(lease), seconds)

    async def _request(self, operation: Callable[[], Lease], seconds: float) -> Lease:
        latency, lost = self._server.latency(), self._server.loses_answer()
        before = min(latency / 2, seconds / self._rate)
        await asyncio.sleep(before)
        try:
            if self._server.away:
                raise OSError("connection refused")
            answer = operation()
            if lost or latency > seconds / self._rate:
                await asyncio.sleep(max(0.0, seconds / self._rate - before))
                raise TimeoutError
            await asyncio.sleep(latency / 2)
            return answer
        finally:
            await self._runs.wait()

    # -- what happens to it

    def kill(self) -> None:
        self._task.cancel()
        self._runs.set()

    async def stop(self) -> None:
        """SIGTERM."""
        await self.leadership.retire()
        self._task.cancel()

    def suspend(self, *, clock_stops: bool = False) -> None:
        """SIGSTOP; its clock stops, too, when it is its whole machine that is suspended."""
        self._runs.clear()
        if clock_stops:
            self._stopped_clock_at = now()

    def resume(self) -> None:
        """SIGCONT."""
        if self._stopped_clock_at is not None:
            self._lost += now() - self._stopped_clock_at
            self._stopped_clock_at = None
        self._runs.set()
