"""5xx answers: does the canary fail more often than stable does over the same time?"""

from __future__ import annotations

from iris_operator.analysis.arrays import RevisionArrays
from iris_operator.analysis.check import Shape
from iris_operator.analysis.checks.ratio import FailureRatio
from iris_operator.analysis.counts import RequestCounts
from iris_operator.analysis.metrics.rare import EventCounts
from iris_operator.api.checks import ErrorRateCheck

NAME = "errorRate"


class ErrorRate(FailureRatio):
    """Requests answered with a 5xx code."""

    name = NAME
    weight = 5.0

    def __init__(self, settings: ErrorRateCheck, _shape: Shape) -> None:
        super().__init__(settings, _events, "5xx")

    def is_measured(self, _counts: RequestCounts) -> bool:
        """See `Check.is_measured`. Whatever counts requests has their codes."""
        return True

    def unmeasured(self, counts: RequestCounts) -> str:
        """See `Check.unmeasured`."""
        return "" if counts.by_code else "requests by code"


def _events(revision: RevisionArrays) -> EventCounts | None:
    return EventCounts(revision.errors, revision.requests)
