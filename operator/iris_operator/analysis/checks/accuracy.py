"""Wrong answers, as labels tell later: F9."""

from __future__ import annotations

from iris_operator.analysis.check import Seen, Shape
from iris_operator.analysis.checks.ratio import counts_of, information_per_request, seen_ratio
from iris_operator.analysis.counts import RequestCounts
from iris_operator.analysis.look import Metric, State
from iris_operator.analysis.metrics.labels import WrongAnswers
from iris_operator.api.spec import AccuracyCheck

NAME = "accuracy"


class Accuracy:
    """F1 on wrong answers (and pairs, where both versions answered the same request) to roll back, F3 to go on."""

    name = NAME
    part = 4.5

    def __init__(self, settings: AccuracyCheck, shape: Shape) -> None:
        self._drop = settings.max_drop
        self._paired = shape.paired

    def metric(self) -> Metric:
        """See `Check.metric`."""
        return WrongAnswers(self._drop, paired=self._paired)

    def missing(self, counts: RequestCounts) -> str:
        """See `Check.missing`."""
        return "" if counts.correct is not None and counts.incorrect is not None else "labelled answers"

    def seen(self, state: State) -> Seen:
        """See `Check.seen`."""
        return seen_ratio(state, "wrong", "labelled answers")

    def gain(self, state: State, next_share: float) -> float:
        """See `Check.gain`."""
        _, n_c, x_s, n_s = counts_of(state)
        return information_per_request(n_c, n_s, x_s / n_s if n_s else 0.0, min(self._drop / next_share, 1 - 1e-6))

    @property
    def worse(self) -> str:
        """See `Check.worse`."""
        return "wrong more often than stable"

    def good(self, next_share: float) -> str:
        """See `Check.good`."""
        return f"at most {100 * min(1.0, self._drop / next_share):.3g} points less accurate"
