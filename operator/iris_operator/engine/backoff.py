"""How long to wait after failures in a row: longer each time, and not all releases at the same moment."""

from __future__ import annotations

from collections.abc import Callable


def backoff_seconds(failures: int, random: Callable[[], float], *, first: float, longest: float) -> float:
    """Seconds to wait after so many failures in a row: twice as long each time, of which chance takes up to a half.

    `random` gives numbers from 0 to 1.
    """
    doublings = min(max(0, failures - 1), 32)
    return min(longest, first * 2.0**doublings) * (0.5 + random() / 2)
