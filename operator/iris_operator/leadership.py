"""Keeps the lease while this process leads, and waits for it while another one does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Final, Protocol

from iris_operator.election import Election, Lease, Timing

log = logging.getLogger(__name__)

# Of the pass that is running; None outside of a pass.
_term_of_pass: ContextVar[int | None] = ContextVar("term_of_pass", default=None)

# A leader whose renewal gets no answer in this time can still try again before its deadline.
_REQUEST_SECONDS: Final = 3.0
# Longer than a round of the election takes whatever happens: one that has not ended in this time never will.
_HUNG_SECONDS: Final = 60.0


class LeaseChanged(Exception):
    """Somebody has written the lease since it was read."""


class LeaseStore(Protocol):
    """Where the lease is. A method fails when it takes longer than `seconds`; a write may have been stored even so."""

    async def read(self, seconds: float) -> Lease:
        """The stored lease; `Lease()` when there is none."""

    async def write(self, lease: Lease, seconds: float) -> Lease:
        """Replace exactly the version that `lease` names, or create it without one; returns what is stored now.

        Raises:
            LeaseChanged: another version is stored.
        """


class Leadership(Protocol):
    """May this process reconcile?"""

    def leads(self) -> bool:
        """Does it lead at this moment?"""

    def may_write(self) -> bool:
        """Does it lead, and has so since the present pass was begun?"""

    def in_term(self) -> AbstractContextManager[None]:
        """The context of a pass: `may_write` is False in it once the present term is over, also in a later one."""

    async def wait(self) -> None:
        """Wait until it leads."""

    def problem(self) -> str:
        """Why it is not ready, neither as the leader nor as one that would take over; empty when it is."""

    def hangs(self) -> bool:
        """Does something block the election?"""

    async def run(self) -> None:
        """Take part in the election until `retire`."""

    async def retire(self) -> None:
        """Lead no longer, and let another one take over at once."""


class WithoutElection:
    """Implements `Leadership` for an operator that is alone because nobody starts a second one."""

    def leads(self) -> bool:
        """See `Leadership.leads`."""
        return True

    def may_write(self) -> bool:
        """See `Leadership.may_write`."""
        return True

    def in_term(self) -> AbstractContextManager[None]:
        """See `Leadership.in_term`."""
        return nullcontext()

    async def wait(self) -> None:
        """See `Leadership.wait`."""

    def problem(self) -> str:
        """See `Leadership.problem`."""
        return ""

    def hangs(self) -> bool:
        """See `Leadership.hangs`."""
        return False

    async def run(self) -> None:
        """See `Leadership.run`."""

    async def retire(self) -> None:
        """See `Leadership.retire`."""


class LeaseLeadership:
    """Implements `Leadership` with a lease."""

    def __init__(
        self,
        store: LeaseStore,
        identity: str,
        *,
        clock: Callable[[], float],
        timing: Timing | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        on_change: Callable[[bool], None] = lambda _leads: None,
    ) -> None:
        """`clock` is monotonic, in seconds. `on_change` is called with True when a term has begun, else with False."""
        self._timing = timing or Timing()
        self._store = store
        self._clock = clock
        self._sleep = sleep
        self._on_change = on_change
        self._election = Election(identity, self._timing)
        self._identity = identity
        self._announced_term = 0
        self._read_needed = True
        self._retired = False
        self._attempting = asyncio.Lock()
        self._gained = asyncio.Event()
        self._attempted_at: float | None = None

    def leads(self) -> bool:
        """See `Leadership.leads`."""
        return not self._retired and self._election.leads(self._clock())

    def may_write(self) -> bool:
        """See `Leadership.may_write`."""
        return self.leads() and _term_of_pass.get() in (None, self._election.term)

    @contextmanager
    def in_term(self) -> Iterator[None]:
        """See `Leadership.in_term`."""
        token = _term_of_pass.set(self._election.term)
        try:
            yield
        finally:
            _term_of_pass.reset(token)

    async def wait(self) -> None:
        """See `Leadership.wait`."""
        while not self.leads():
            self._gained.clear()
            await self._gained.wait()

    def problem(self) -> str:
        """See `Leadership.problem`."""
        now = self._clock()
        return "" if self.leads() or self._election.sees_leader(now) else "no operator holds the lease"

    def hangs(self) -> bool:
        """See `Leadership.hangs`."""
        if self._retired or self._attempted_at is None:
            return False
        return self._clock() - self._attempted_at > _HUNG_SECONDS

    async def run(self) -> None:
        """See `Leadership.run`."""
        while not self._retired:
            began = self._attempted_at = self._clock()
            async with self._attempting:
                renewed = await self._attempt()
            self._announce()
            if renewed:
                await self._sleep(max(0.0, began + self._timing.renew - self._clock()))
            else:
                await self._sleep(self._timing.retry)

    async def retire(self) -> None:
        """See `Leadership.retire`."""
        self._retired = True
        self._announce()
        async with self._attempting:
            released = self._election.resign()
            if released is None:
                return
            try:
                self._election.observe(await self._store.write(released, self._timing.renew), self._clock())
            except Exception as error:  # noqa: BLE001 - it expires by itself, too
                log.warning("the lease was not released, so another operator takes over later: %s", error)

    async def _attempt(self) -> bool:
        """One attempt to get or to renew the lease: has it been stored?"""
        if self._retired:
            return False
        try:
            if self._read_needed:
                self._election.observe(await self._store.read(self._seconds()), self._clock())
            asked_at = self._clock()
            claim = self._election.claim(asked_at)
            if claim is None:
                return False
            # Without an answer nobody knows what is stored.
            self._read_needed = True
            stored = await self._store.write(claim, self._seconds())
        except LeaseChanged:
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again, and nothing is done without the lease
            log.warning("the lease could not be %s: %s", "renewed" if self._announced_term else "taken", error)
            return False
        self._read_needed = False
        self._election.claimed(stored, asked_at, self._clock())
        return True

    def _seconds(self) -> float:
        """How long a request may take: a leader must notice in time that it leads no longer."""
        left = self._election.seconds_left(self._clock())
        return min(left, _REQUEST_SECONDS) if left > 0 else _REQUEST_SECONDS

    def _announce(self) -> None:
        term = self._election.term if self.leads() else 0
        if term == self._announced_term:
            return
        self._announced_term = term
        log.warning("%s %s", self._identity, "leads: it reconciles from now on" if term else "leads no longer")
        self._on_change(bool(term))
        if term:
            self._gained.set()
