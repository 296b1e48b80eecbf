"""Whether reconciles happen: for the probe that restarts an operator which is alive and does nothing."""

from __future__ import annotations

from typing import Final

from iris_operator.workqueue import Key

# Longer than a pass takes whose every request times out, which is no reason for a restart.
OVERDUE_SECONDS: Final = 120.0


class Liveness:
    """When each release is due next, and when the last reconcile of any ended, in seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._due: dict[Key, float] = {}
        self._last_ended = float("-inf")

    def begun(self, key: Key, now: float) -> None:
        """A pass begins: it is due until it ends."""
        self._due[key] = min(now, self._due.get(key, now))

    def ended(self, key: Key, now: float, requeue_after: float) -> None:
        """A pass has ended, in whatever way; the next one is due in so many seconds."""
        self._due[key] = now + requeue_after
        self._last_ended = now

    def forget(self, key: Key) -> None:
        """A release needs no further pass, or none by this operator."""
        self._due.pop(key, None)

    def forget_all(self) -> None:
        """Another operator reconciles from now on."""
        self._due.clear()

    def stalled(self, now: float) -> str:
        """What is wrong when no pass has ended for long although some are due; empty otherwise.

        One release that hangs while others go on is not enough: a restart would cost those their pass.
        """
        overdue = [key for key, due in self._due.items() if now - due > OVERDUE_SECONDS]
        if not overdue or now - self._last_ended <= OVERDUE_SECONDS:
            return ""
        return f"no reconcile has ended for {OVERDUE_SECONDS:.0f} s, and {len(overdue)} are due"
