"""Failed inferences: the model could not answer, whatever HTTP code the client got."""

from __future__ import annotations

from iris_operator.analysis.arrays import RevisionArrays
from iris_operator.analysis.check import ForecastStep, Shape
from iris_operator.analysis.checks.ratio import FailureRatio
from iris_operator.analysis.counts import RequestCounts
from iris_operator.analysis.metrics.rare import EventCounts
from iris_operator.api.checks import InferenceFailuresCheck

NAME = "inferenceFailures"


class InferenceFailures(FailureRatio):
    """Requests whose inference failed. Most of them are 5xx answers too, so its weight is small."""

    name = NAME
    weight = 0.25

    def __init__(self, settings: InferenceFailuresCheck, _shape: Shape) -> None:
        super().__init__(settings, _events, "inference failures")

    def is_measured(self, counts: RequestCounts) -> bool:
        """See `Check.is_measured`."""
        return counts.failures is not None

    def unmeasured(self, counts: RequestCounts) -> str:
        """See `Check.unmeasured`."""
        return "" if counts.failures is not None else "failed inferences"

    def requests_needed(self, _step: ForecastStep) -> float | None:
        """See `Check.requests_needed`. Failed inferences are 5xx answers, for which `errorRate` waits already."""
        return None


def _events(revision: RevisionArrays) -> EventCounts | None:
    return None if revision.failures is None else EventCounts(revision.failures, revision.requests)
