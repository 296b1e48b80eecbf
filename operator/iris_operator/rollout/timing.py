"""Ticks at which releases are judged: the same for all with the same interval, whenever they began.

So one set of queries serves all releases.
"""

from __future__ import annotations

import math
from datetime import datetime

# In seconds: a timer that fires a little early must not miss its tick.
_TIMER_TOLERANCE = 0.05
# While the canary has a share it is judged at least this often: a bad version must not wait for the end of an interval.
_MAX_JUDGEMENT_INTERVAL = 5.0
# In seconds; whatever the spec says, an interval has a length.
_MIN_INTERVAL = 0.1

# Older CRDs admit an interval of 0.
_MIN_INTERVAL = 0.1


def judgement_interval(interval: float) -> float:
    """Seconds between judgements of a release with this interval: a whole part of it, so that every tick is one."""
    interval = max(interval, _MIN_INTERVAL)
    return interval / math.ceil(interval / _MAX_JUDGEMENT_INTERVAL)


def tick_before(now: datetime, interval: float) -> float:
    """The newest tick of that interval, in seconds since 1970."""
    return math.floor((now.timestamp() + _TIMER_TOLERANCE) / interval) * interval


def seconds_to_tick(now: datetime, interval: float) -> float:
    """Seconds until the next one."""
    return max(0.0, tick_before(now, interval) + interval - now.timestamp())
