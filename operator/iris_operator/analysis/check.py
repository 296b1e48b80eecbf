"""What a check is: counts and memory in, a word with its reasons and new memory out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from iris_operator.analysis.counts import Interval
from iris_operator.analysis.verdict import Verdict


@dataclass(frozen=True)
class Bounds:
    """How much evidence decides, as e-values."""

    rollback_at: float
    promote_at: float


@dataclass(frozen=True)
class CheckResult:
    """One check's word. Shares are fractions; `worse` and `good` are e-values."""

    name: str
    verdict: Verdict
    reason: str
    canary: float | None = None
    stable: float | None = None
    requests: int = 0
    worse: float | None = None
    good: float | None = None
    bounds: Bounds | None = None
    requests_missing: int = 0
    """Canary requests like those seen that would still be needed to pass; an estimate."""


Memory = Mapping[str, Any]
"""JSON-able evidence of the earlier intervals of this release; empty at its start."""


class Check(Protocol):
    """A judge of one aspect. Pure: the same input gives the same word."""

    def judge(
        self, interval: Interval, memory: Memory, next_weight: float, bounds: Bounds
    ) -> tuple[CheckResult, Memory]:
        """Take one more interval into account.

        `next_weight` is the share (0 to 1] that the canary would get next. Returns the word, and the memory for the
        next interval.
        """
        ...
