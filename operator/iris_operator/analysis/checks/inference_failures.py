"""Inferences that failed: the model could not answer, whatever the client was told."""

from __future__ import annotations

from iris_operator.analysis.checks.ratio import FailureRatio
from iris_operator.analysis.counts import RequestCounts
from iris_operator.analysis.look import Side
from iris_operator.analysis.metrics.rare import Events
from iris_operator.api.spec import InferenceFailuresCheck

NAME = "inferenceFailures"


class InferenceFailures(FailureRatio):
    """Of the requests, those that the model failed. Most are 5xx answers, too: its part in the alarm is small."""

    name = NAME
    part = 0.25

    def __init__(self, settings: InferenceFailuresCheck) -> None:
        super().__init__(settings, _events, "inference failures")

    def missing(self, counts: RequestCounts) -> str:
        """See `Check.missing`."""
        return "" if counts.failures is not None else "failed inferences"


def _events(side: Side) -> Events | None:
    return None if side.failures is None else Events(side.failures, side.requests)
