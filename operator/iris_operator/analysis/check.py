"""What a check is: the evidence of one metric, and the words for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from iris_operator.analysis.counts import RequestCounts
from iris_operator.analysis.look import Metric, State
from iris_operator.analysis.verdict import Verdict

Memory = Mapping[str, Any]
"""JSON-able evidence of the earlier intervals of this release; empty at its start."""


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


@dataclass(frozen=True)
class Shape:
    """What is fixed for a whole rollout, or its counts could not be added up. Empty: not known yet."""

    bounds: tuple[float, ...] = ()
    """Bounds of the histogram that both revisions have, in seconds."""
    classes: tuple[str, ...] = ()
    """Predicted classes; the last one stands for all others."""
    tiers: tuple[str, ...] = ()
    """Of the cache, where both revisions tell whose answers came from it."""
    paired: bool = False
    """Do both versions answer the same requests?"""


@dataclass(frozen=True)
class Seen:
    """What was counted so far, in words and numbers."""

    text: str
    canary: float | None
    stable: float | None
    requests: int


class Check(Protocol):
    """A judge of one aspect. Pure: the same input gives the same word."""

    name: str
    part: float
    """Its part in the alarm over all metrics; the parts are made to sum to 1."""

    def metric(self) -> Metric:
        """Its evidence."""
        ...

    def missing(self, counts: RequestCounts) -> str:
        """What this revision does not tell, in words; empty when all is there."""
        ...

    def seen(self, state: State) -> Seen:
        """What a person should know of the counts in `state`."""
        ...

    def gain(self, state: State, next_share: float) -> float:
        """Nats of evidence to go on that a further canary request like those seen brings; 0 when it brings none."""
        ...

    @property
    def worse(self) -> str:
        """What a rollback is evidence of."""
        ...

    def good(self, next_share: float) -> str:
        """What going on is evidence of."""
        ...
