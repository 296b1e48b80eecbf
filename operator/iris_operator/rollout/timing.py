"""Moments at which releases are judged: the same for all that have the same interval, whenever they began.

So that one set of queries serves a whole fleet.
"""

from __future__ import annotations

import math
from datetime import datetime

# A timer that fires a little early must not miss its tick.
_EARLY = 0.05


def tick_before(now: datetime, interval: float) -> float:
    """The newest tick of so many seconds, in seconds since 1970."""
    return math.floor((now.timestamp() + _EARLY) / interval) * interval


def seconds_to_tick(now: datetime, interval: float) -> float:
    """Seconds until the next one."""
    return max(0.0, tick_before(now, interval) + interval - now.timestamp())
