"""4xx answers: does the canary refuse requests that stable answers?"""

from __future__ import annotations

from iris_operator.analysis.arrays import RevisionArrays
from iris_operator.analysis.check import ForecastStep, Shape
from iris_operator.analysis.checks.ratio import FailureRatio
from iris_operator.analysis.counts import RequestCounts
from iris_operator.analysis.metrics.rare import EventCounts
from iris_operator.api.checks import ClientErrorsCheck

NAME = "clientErrors"


class ClientErrors(FailureRatio):
    """Requests answered with a 4xx code. Chance decides which version a client with wrong requests meets."""

    name = NAME
    weight = 0.5

    def __init__(self, settings: ClientErrorsCheck, _shape: Shape) -> None:
        super().__init__(settings, _events, "4xx")

    def is_measured(self, _counts: RequestCounts) -> bool:
        """See `Check.is_measured`. Whatever counts requests has their codes."""
        return True

    def unmeasured(self, counts: RequestCounts) -> str:
        """See `Check.unmeasured`."""
        return "" if counts.by_code else "requests by code"

    def requests_needed(self, _step: ForecastStep) -> float | None:
        """See `Check.requests_needed`. `errorRate` needs more: it tolerates less."""
        return None


def _events(revision: RevisionArrays) -> EventCounts | None:
    return None if revision.refused is None else EventCounts(revision.refused, revision.requests)
