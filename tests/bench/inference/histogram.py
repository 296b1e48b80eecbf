"""Percentiles of wrk's latencies, without the latencies that wrk invents.

wrk takes the average time between two answers on a connection for an intended rate, and adds to each latency of twice
that time and more the shorter ones that a generator of that rate would have seen. At a fixed concurrency there is no
such rate. The addition can be reversed exactly: it took nothing away, and every invented latency follows from a
longer one.
"""

from collections.abc import Mapping
from typing import Final

Histogram = Mapping[int, int]

_HIGHEST: Final = 100


def without_invented(corrected: Histogram, interval: int) -> dict[int, int]:
    """What was measured, from what wrk reports: how often each latency in microseconds came.

    `interval` is the time in microseconds that wrk took for the intended one. Raises ValueError for a histogram that
    wrk's addition cannot have made.
    """
    counts = dict(corrected)
    # From the longest down: when a latency's turn comes, what longer ones added to it is gone already.
    for latency in sorted(corrected, reverse=True):
        count = counts[latency]
        if count < 0:
            raise ValueError(f"{-count} latencies of {latency} us are missing")
        if latency < 2 * interval or not count:
            continue
        for shorter in range(latency - interval, interval, -interval):
            if shorter not in counts:
                raise ValueError(f"no latency of {shorter} us, which follows from one of {latency} us")
            counts[shorter] -= count
    return {latency: count for latency, count in sorted(counts.items()) if count}


def percentile(histogram: Histogram, share: float) -> int:
    """The smallest latency that `share` per cent of all do not exceed. Raises ValueError when there is none."""
    if not 0 < share <= _HIGHEST:
        raise ValueError(f"a share is above 0 and at most {_HIGHEST} per cent, not {share}")
    wanted = sum(histogram.values()) * share / _HIGHEST
    seen = 0
    for latency, count in sorted(histogram.items()):
        seen += count
        if seen >= wanted:
            return latency
    raise ValueError("there are no latencies")
