"""5xx answers: does the canary fail more often than stable does over the same time?"""

from __future__ import annotations

from iris_operator.analysis.checks.ratio import FailureRatio
from iris_operator.analysis.counts import RequestCounts
from iris_operator.analysis.look import Side
from iris_operator.analysis.metrics.rare import Events
from iris_operator.api.spec import ErrorRateCheck

NAME = "errorRate"


class ErrorRate(FailureRatio):
    """Of the requests, those answered with a 5xx code."""

    name = NAME
    part = 5.0

    def __init__(self, settings: ErrorRateCheck) -> None:
        super().__init__(settings, _events, "5xx")

    def missing(self, counts: RequestCounts) -> str:
        """See `Check.missing`."""
        return "" if counts.by_code else "requests by code"


def _events(side: Side) -> Events | None:
    return Events(side.errors, side.requests)
