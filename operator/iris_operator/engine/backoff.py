"""How long to wait after failures in a row: longer each time, and not all releases at the same moment."""

from __future__ import annotations

from collections.abc import Callable, Collection

from iris_operator.engine.ports import Conflict, Unavailable

# At the latest, after a reconcile that decided and could not do everything.
RETRY_SECONDS = 5.0
# After one that could not even decide.
_LONGEST_SECONDS = 30.0
_FIRST_SECONDS = 1.0
_FIRST_AFTER_CONFLICT = 0.2

Key = tuple[str, str]
"""(namespace, release)."""


def backoff_seconds(failures: int, random: Callable[[], float], *, first: float, longest: float) -> float:
    """Seconds to wait after so many failures in a row: twice as long each time, of which chance takes up to a half.

    `random` gives numbers from 0 to 1.
    """
    doublings = min(max(0, failures - 1), 32)
    return min(longest, first * 2.0**doublings) * (0.5 + random() / 2)


class Retries:
    """How often in a row each release has failed. An operator that starts begins at none."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._failures: dict[Key, int] = {}

    def has_failed(self, key: Key) -> bool:
        """Did its last reconcile fail?"""
        return key in self._failures

    def succeeded(self, key: Key) -> None:
        """Its last reconcile has not failed."""
        self._failures.pop(key, None)

    def failed(self, key: Key, errors: Collection[Exception], requeue_after: float | None) -> float:
        """Count a failed reconcile; returns the seconds until the next one, at least those that a server asks for.

        `requeue_after` is when the decision wants the next one; None: nothing was decided.
        """
        self._failures[key] = failures = self._failures.get(key, 0) + 1
        conflict = all(isinstance(error, Conflict) for error in errors)
        wait = backoff_seconds(
            failures,
            self._random,
            first=_FIRST_AFTER_CONFLICT if conflict else _FIRST_SECONDS,
            longest=_LONGEST_SECONDS if requeue_after is None and not conflict else RETRY_SECONDS,
        )
        asked = max((error.retry_after for error in errors if isinstance(error, Unavailable)), default=0.0)
        return max(min(wait, requeue_after) if requeue_after else wait, asked)
