"""Who leads, decided from a lease and one's own clock: no I/O, no wall clock, no chance.

The rules are those of Kubernetes' own components. A candidate never compares times of two machines: it takes a lease
over when it has not seen it change for as long as the lease says, by its own monotonic clock. A leader counts from the
moment before it asked for its last renewal, and stops some time before anybody can have waited that long.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True)
class Timing:
    """In seconds. `deadline` is below `lease`, so that a leader has stopped before its lease can be taken over.

    The difference pays for clocks that run at unlike rates, and for a write that is under way when the leader stops.
    """

    lease: float = 10.0
    deadline: float = 7.0
    renew: float = 2.0
    """Between two renewals of a leader."""
    retry: float = 0.5
    """Between two looks at a lease that is another's, and after a renewal that failed."""


@dataclass(frozen=True)
class Lease:
    """A lease as it is stored. Nobody holds it while `holder` is empty."""

    holder: str = ""
    duration: float = 0.0
    """Seconds that its holder asks others to wait for its next renewal."""
    transitions: int = 0
    version: str = ""
    """Differs after every write."""


class Election:
    """The state of one candidate. Every `now` is in seconds of its own monotonic clock."""

    def __init__(self, identity: str, timing: Timing) -> None:
        """`identity` must be that of no other candidate."""
        self._identity = identity
        self._timing = timing
        self._seen: Lease | None = None
        self._seen_since = -inf
        self._leads_until = -inf
        self.term = 0
        """How often this candidate has become leader: what was begun in an earlier term must not go on in a later."""

    def leads(self, now: float) -> bool:
        """Is it certain at `now` that nobody else leads?"""
        return now < self._leads_until

    def seconds_left(self, now: float) -> float:
        """For how long it leads without another renewal; 0 when it does not."""
        return max(0.0, self._leads_until - now)

    def sees_leader(self, now: float) -> bool:
        """Does somebody hold the lease, and has renewed it in time?"""
        return self._seen is not None and bool(self._seen.holder) and not self._expired(self._seen, now)

    def observe(self, lease: Lease, now: float) -> None:
        """The lease was read. `now` must not be before the read."""
        if lease.holder != self._identity:
            # Whatever its own clock says: the clock of a machine that was suspended has not gone on.
            self._leads_until = -inf
        if lease != self._seen:
            self._seen, self._seen_since = lease, now

    def claim(self, now: float) -> Lease | None:
        """The lease to write in place of the one that was observed last; None while that is another's."""
        seen = self._seen
        if seen is None:
            return None
        if seen.holder not in ("", self._identity) and not self._expired(seen, now):
            return None
        transitions = seen.transitions + (seen.holder != self._identity)
        return Lease(self._identity, self._timing.lease, transitions, seen.version)

    def claimed(self, stored: Lease, asked_at: float, now: float) -> None:
        """A claim was stored. It was sent at `asked_at` at the earliest: others may have seen it since then."""
        if not self.leads(now):
            self.term += 1
        self._leads_until = asked_at + self._timing.deadline
        self.observe(stored, now)

    def resign(self) -> Lease | None:
        """Lead no longer, whatever the lease says; returns the lease to write so that others need not wait."""
        self._leads_until = -inf
        seen = self._seen
        if seen is None or seen.holder != self._identity:
            return None
        return Lease("", 1.0, seen.transitions, seen.version)

    def _expired(self, lease: Lease, now: float) -> bool:
        return now - self._seen_since >= max(lease.duration, self._timing.lease)
