"""The time within which a share of the requests must be answered, where the user has such an objective."""

from __future__ import annotations

from iris_operator.analysis.arrays import Metric, State
from iris_operator.analysis.check import ForecastStep, Shape, Summary
from iris_operator.analysis.checks.ratio import summarize_ratio
from iris_operator.analysis.counts import RequestCounts
from iris_operator.analysis.formatting import milliseconds, percent
from iris_operator.analysis.metrics.margins import EARLY
from iris_operator.analysis.metrics.objective import ObjectiveMisses
from iris_operator.api.checks import LATENCY_OBJECTIVE, LatencyObjective
from iris_operator.api.durations import parse_duration

NAME = LATENCY_OBJECTIVE


class MissedObjective:
    """Late requests of the canary: more than the objective allows, and more than stable's."""

    name = NAME
    weight = 2.0
    cumulative = True

    def __init__(self, settings: LatencyObjective, shape: Shape) -> None:
        self._late_share = 1.0 - settings.share
        self._under = parse_duration(settings.under)
        below = [bound for bound in shape.bounds if bound <= self._under]
        self._bound = below[-1] if below else None
        self._metric = ObjectiveMisses(max(len(below) - 1, 0), self._late_share)

    def metric(self) -> Metric:
        """See `Check.metric`."""
        return self._metric

    def is_measured(self, counts: RequestCounts) -> bool:
        """See `Check.is_measured`."""
        return bool(counts.at_most)

    def unmeasured(self, counts: RequestCounts) -> str:
        """See `Check.unmeasured`."""
        if not counts.at_most:
            return "durations"
        if self._bound is None:
            return f"durations by a bound of {milliseconds(self._under)} or less"
        return "" if self._bound in counts.at_most else f"durations by the bound {milliseconds(self._bound)}"

    def summarize(self, state: State) -> Summary:
        """See `Check.summarize`."""
        return summarize_ratio(state, f"over {milliseconds(self._bound or self._under)}", "requests")

    def evidence_per_request(self, _state: State, _next_share: float) -> float:
        """See `Check.evidence_per_request`. Not foreseen: `latency` and `errorRate` need more requests."""
        return 0.0

    def requests_needed(self, _step: ForecastStep) -> float | None:
        """See `Check.requests_needed`."""
        return None

    def regression_claim(self, _state: State) -> str:
        """See `Check.regression_claim`."""
        return f"more than {percent(self._late_share)}, and more than stable's"

    def noninferiority_claim(self, _state: State, next_share: float) -> str:
        """See `Check.noninferiority_claim`."""
        times = (EARLY if next_share < 1.0 else 1.0) / next_share
        return f"below {percent(min(self._late_share * times, 1.0))} or twice stable's"
