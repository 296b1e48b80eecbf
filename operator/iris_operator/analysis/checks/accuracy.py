"""Wrong answers, according to labels that arrive later: F9."""

from __future__ import annotations

from dataclasses import replace

from iris_operator.analysis.arrays import Metric, State
from iris_operator.analysis.check import ForecastStep, Shape, Summary
from iris_operator.analysis.checks.information import information_per_request, requests_to_exclude
from iris_operator.analysis.checks.ratio import event_counts, summarize_ratio
from iris_operator.analysis.counts import RequestCounts
from iris_operator.analysis.metrics.labels import WrongAnswers, reports_only_errors
from iris_operator.api.checks import AccuracyCheck

NAME = "accuracy"
# Of wrong answers, for the forecast.
_TYPICAL_SHARE = 0.05


class Accuracy:
    """F1 on wrong answers (and on pairs, where both versions answered the same request) to roll back, F3 to promote."""

    name = NAME
    weight = 7.0
    cumulative = False

    def __init__(self, settings: AccuracyCheck, shape: Shape) -> None:
        self._max_drop = settings.max_drop
        self._paired = shape.paired

    def metric(self) -> Metric:
        """See `Check.metric`."""
        return WrongAnswers(self._max_drop, paired=self._paired)

    def is_measured(self, counts: RequestCounts) -> bool:
        """See `Check.is_measured`."""
        return counts.incorrect is not None

    def unmeasured(self, counts: RequestCounts) -> str:
        """See `Check.unmeasured`."""
        return "" if counts.correct is not None and counts.incorrect is not None else "labelled answers"

    def summarize(self, state: State) -> Summary:
        """See `Check.summarize`."""
        if not reports_only_errors(state)[0]:
            return summarize_ratio(state, "wrong", "labelled answers")
        summary = summarize_ratio(state, "wrong", "requests")
        return replace(summary, text=f"{summary.text} (only errors are reported: counted per request)")

    def evidence_per_request(self, state: State, next_share: float) -> float:
        """See `Check.evidence_per_request`."""
        _, n_c, x_s, n_s = event_counts(state)
        delta = min(self._max_drop / next_share, 1 - 1e-6)
        return information_per_request(n_c, n_s, x_s / n_s if n_s else 0.0, delta)

    def requests_needed(self, step: ForecastStep) -> float | None:
        """See `Check.requests_needed`."""
        return requests_to_exclude(step, self._max_drop, _TYPICAL_SHARE)

    def regression_claim(self, _state: State) -> str:
        """See `Check.regression_claim`."""
        return "wrong more often than stable"

    def noninferiority_claim(self, _state: State, next_share: float) -> str:
        """See `Check.noninferiority_claim`."""
        return f"at most {100 * min(1.0, self._max_drop / next_share):.3g} points less accurate"
