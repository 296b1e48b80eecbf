"""Percentiles of wrk's latencies, without the synthetic latencies that wrk adds.

wrk treats the average time between two responses on a connection as an intended rate, and adds to each latency of at
least twice that time the shorter ones that a generator of that rate would have measured. At a fixed concurrency there
is no such rate. The correction can be reversed exactly: it removed nothing, and every synthetic latency follows from
a longer one.
"""

from collections.abc import Mapping
from typing import Final

Histogram = Mapping[int, int]

_HIGHEST: Final = 100


def without_synthetic(corrected: Histogram, interval: int) -> dict[int, int]:
    """The measured histogram, from the one that wrk reports: counts by latency in microseconds.

    `interval` is the time in microseconds that wrk assumes between requests. Raises ValueError for a histogram that
    wrk's correction cannot have produced.
    """
    counts = dict(corrected)
    # From the longest down, so that what longer latencies added has been subtracted before a latency is processed.
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
    target = sum(histogram.values()) * share / _HIGHEST
    cumulative = 0
    for latency, count in sorted(histogram.items()):
        cumulative += count
        if cumulative >= target:
            return latency
    raise ValueError("there are no latencies")
