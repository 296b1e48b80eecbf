"""What is predicted: has the canary's mix of classes moved away from stable's?"""

from __future__ import annotations

import numpy as np

from iris_operator.analysis.check import Seen, Shape
from iris_operator.analysis.checks.ratio import information_per_request
from iris_operator.analysis.counts import RequestCounts
from iris_operator.analysis.look import Metric, State
from iris_operator.analysis.metrics.shares import ROLLBACK_PART, ClassShares
from iris_operator.analysis.sentences import share_of
from iris_operator.api.spec import PredictionDriftCheck

NAME = "predictionDrift"


class PredictionDrift:
    """F3 on each class against the rest, in both directions."""

    name = NAME
    part = 3.0

    def __init__(self, settings: PredictionDriftCheck, shape: Shape) -> None:
        self._shift = settings.max_shift
        self._classes = shape.classes

    def metric(self) -> Metric:
        """See `Check.metric`."""
        return ClassShares(len(self._classes), self._shift)

    def missing(self, counts: RequestCounts) -> str:
        """See `Check.missing`."""
        return "" if counts.by_class is not None and self._classes else "predictions by class"

    def seen(self, state: State) -> Seen:
        """See `Check.seen`. The class that is told is the one whose share moved most."""
        canary, stable = (state[side][0].tolist() for side in ("canary", "stable"))
        n_c, n_s = sum(canary), sum(stable)
        of_c, of_s = max(n_c, 1.0), max(n_s, 1.0)
        apart = [abs(x_c / of_c - x_s / of_s) for x_c, x_s in zip(canary, stable, strict=True)]
        at = apart.index(max(apart))
        text = (
            f"class {self._classes[at]}: canary {share_of(canary[at], n_c, 'predictions')}, "
            f"stable {share_of(stable[at], n_s, 'predictions')}"
        )
        return Seen(text, canary[at] / of_c, stable[at] / of_s, int(n_c))

    def gain(self, state: State, next_share: float) -> float:
        """See `Check.gain`. Of the class nearest to half of all, which takes longest."""
        n_c, n_s = float(state["canary"].sum()), float(state["stable"].sum())
        shares = state["stable"][0] / max(n_s, 1.0)
        widest = float(shares[np.argmin(np.abs(shares - 0.5))])
        return information_per_request(n_c, n_s, widest, min(self._shift / next_share, 1 - 1e-6))

    @property
    def worse(self) -> str:
        """See `Check.worse`."""
        return f"moved by more than {100 * self._shift * ROLLBACK_PART:.3g} points"

    def good(self, next_share: float) -> str:
        """See `Check.good`."""
        return f"moved by less than {100 * min(1.0, self._shift / next_share):.3g} points"
