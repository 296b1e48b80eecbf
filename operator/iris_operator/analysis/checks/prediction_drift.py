"""Predicted classes: has the canary's mix moved away from stable's?"""

from __future__ import annotations

import numpy as np

from iris_operator.analysis.arrays import Metric, State
from iris_operator.analysis.check import ForecastStep, Shape, Summary
from iris_operator.analysis.checks.information import information_per_request, requests_to_exclude
from iris_operator.analysis.counts import RequestCounts
from iris_operator.analysis.formatting import share_of
from iris_operator.analysis.metrics.shares import ROLLBACK_PART, ClassShares
from iris_operator.api.checks import PredictionDriftCheck

NAME = "predictionDrift"


class PredictionDrift:
    """F3 on each class against the rest, in both directions."""

    name = NAME
    weight = 3.0
    cumulative = False

    def __init__(self, settings: PredictionDriftCheck, shape: Shape) -> None:
        self._max_shift = settings.max_shift
        self._classes = shape.classes

    def metric(self) -> Metric:
        """See `Check.metric`."""
        return ClassShares(len(self._classes), self._max_shift)

    def is_measured(self, counts: RequestCounts) -> bool:
        """See `Check.is_measured`."""
        return counts.by_class is not None

    def unmeasured(self, counts: RequestCounts) -> str:
        """See `Check.unmeasured`."""
        return "" if counts.by_class is not None and self._classes else "predictions by class"

    def summarize(self, state: State) -> Summary:
        """See `Check.summarize`. The class that is named is the one whose share moved most."""
        canary, stable = (state[revision][0].tolist() for revision in ("canary", "stable"))
        n_c, n_s = sum(canary), sum(stable)
        of_c, of_s = max(n_c, 1.0), max(n_s, 1.0)
        differences = [abs(x_c / of_c - x_s / of_s) for x_c, x_s in zip(canary, stable, strict=True)]
        at = differences.index(max(differences))
        text = (
            f"class {self._classes[at]}: canary {share_of(canary[at], n_c, 'predictions')}, "
            f"stable {share_of(stable[at], n_s, 'predictions')}"
        )
        return Summary(text, canary[at] / of_c, stable[at] / of_s, int(n_c))

    def evidence_per_request(self, state: State, next_share: float) -> float:
        """See `Check.evidence_per_request`. Of the class whose share is nearest to one half, which takes longest."""
        n_c, n_s = float(state["canary"].sum()), float(state["stable"].sum())
        shares = state["stable"][0] / max(n_s, 1.0)
        widest = float(shares[np.argmin(np.abs(shares - 0.5))])
        return information_per_request(n_c, n_s, widest, min(self._max_shift / next_share, 1 - 1e-6))

    def requests_needed(self, step: ForecastStep) -> float | None:
        """See `Check.requests_needed`."""
        return requests_to_exclude(step, self._max_shift)

    def regression_claim(self, _state: State) -> str:
        """See `Check.regression_claim`."""
        return f"moved by more than {100 * self._max_shift * ROLLBACK_PART:.3g} points"

    def noninferiority_claim(self, _state: State, next_share: float) -> str:
        """See `Check.noninferiority_claim`."""
        return f"moved by less than {100 * min(1.0, self._max_shift / next_share):.3g} points"
