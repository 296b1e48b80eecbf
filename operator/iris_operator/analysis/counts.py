"""What was counted of each revision between two moments: integers, never rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RequestCounts:
    """Requests that one revision answered in an interval.

    `by_code` counts by HTTP status code. `at_most` counts the requests that took at most so many
    seconds, by the bound of the histogram's bucket; `timed` is the histogram's total.
    """

    by_code: Mapping[str, int] = field(default_factory=dict)
    at_most: Mapping[float, int] = field(default_factory=dict)
    timed: int = 0

    @property
    def total(self) -> int:
        """All answered requests."""
        return sum(self.by_code.values())

    @property
    def server_errors(self) -> int:
        """Requests answered with a 5xx code."""
        return sum(count for code, count in self.by_code.items() if code.startswith("5"))

    def slower_than(self, bound: float) -> int:
        """Requests that took longer than `bound` seconds, which must be a bucket's bound."""
        return max(0, self.timed - self.at_most[bound])


@dataclass(frozen=True)
class Interval:
    """One look at both revisions over the same time. None: that revision had no series at all."""

    canary: RequestCounts | None
    stable: RequestCounts | None
