"""The interface of a check that is judged by evidence, and what every check returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from iris_operator.analysis.arrays import Metric, State
from iris_operator.analysis.counts import RequestCounts
from iris_operator.analysis.verdict import Verdict

Checkpoint = Mapping[str, Any]
"""JSON-able evidence of the earlier intervals of this release; empty at its start."""


@dataclass(frozen=True)
class Thresholds:
    """How much evidence decides, as e-values."""

    rollback_at: float
    promote_at: float


@dataclass(frozen=True)
class CheckResult:
    """One check's verdict with the measured shares, which are fractions."""

    name: str
    verdict: Verdict
    reason: str
    canary: float | None = None
    stable: float | None = None
    requests: int = 0
    regression_e_value: float | None = None
    noninferiority_e_value: float | None = None
    thresholds: Thresholds | None = None
    requests_missing: int = 0
    """Estimated number of further canary requests that a pass takes if they are like those measured so far."""


@dataclass(frozen=True)
class Shape:
    """What must stay fixed for a whole rollout so that its counts can be added up. Empty: not known yet."""

    bounds: tuple[float, ...] = ()
    """Bounds of the histogram that both revisions have, in seconds."""
    classes: tuple[str, ...] = ()
    """Predicted classes; the last one stands for all others."""
    tiers: tuple[str, ...] = ()
    """Of the cache, where both revisions report which tier answered."""
    paired: bool = False
    """Do both versions answer the same requests?"""
    control: bool = False
    """Is there a control group?"""
    sums: bool = False
    """Do both report the sum of their durations?"""


ValueCounts = Mapping[str, tuple[int, ...]]
"""How many values of each feature were in each bin, from the lowest to the highest."""


@dataclass(frozen=True)
class Totals:
    """Counts added up over intervals for the checks that are judged without evidence.

    `split` are the requests of canary and stable while the router claims the share `claimed`, in this step; `features`
    the values of both versions' requests so far.
    """

    split: tuple[int, int] = (0, 0)
    claimed: float = 0.0
    features: ValueCounts = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """What was counted so far, as text and as numbers."""

    text: str
    canary: float | None
    stable: float | None
    requests: int


class ForecastStep(NamedTuple):
    """A step of a healthy rollout that is still to come.

    `weight` and `next_share` are fractions of the traffic, `nats` the evidence that promotes, `error_rate` that of
    both versions.
    """

    weight: float
    next_share: float
    nats: float
    error_rate: float


class Check(Protocol):
    """One aspect of a release, judged by evidence. Pure: the same input gives the same result."""

    name: str
    weight: float
    """In the average of e-values over all checks (F6); the weights are normalized to sum to 1."""
    cumulative: bool
    """Does its evidence for promotion always count from the rollout's start? Otherwise it does for the last step only,
    and from the start of the step for those before.
    """

    def metric(self) -> Metric:
        """Its evidence."""
        ...

    def is_measured(self, counts: RequestCounts) -> bool:
        """Do counts from this source include what the check needs? Then its absence from a revision is a problem."""
        ...

    def unmeasured(self, counts: RequestCounts) -> str:
        """What is missing in the counts of this revision, for a sentence; empty when nothing is."""
        ...

    def summarize(self, state: State) -> Summary:
        """The counts in `state`."""
        ...

    def evidence_per_request(self, state: State, next_share: float) -> float:
        """Nats of evidence for promotion that a further canary request brings if it is like those so far; 0 if none."""
        ...

    def requests_needed(self, step: ForecastStep) -> float | None:
        """Canary requests until a healthy canary passes; infinite if none suffice, None if another check needs more."""
        ...

    def regression_claim(self, state: State) -> str:
        """What a rollback is evidence of."""
        ...

    def noninferiority_claim(self, state: State, next_share: float) -> str:
        """What a promotion to `next_share` is evidence of."""
        ...
