"""5xx answers: does the canary fail more often than stable does over the same time?"""

from __future__ import annotations

from iris_operator.analysis.check import Seen
from iris_operator.analysis.checks.ratio import bound_words, gain_ratio, ratio_words, seen_ratio
from iris_operator.analysis.counts import RequestCounts
from iris_operator.analysis.look import Metric, Side, State
from iris_operator.analysis.metrics.rare import Events, RareEvents
from iris_operator.api.spec import ErrorRateCheck

NAME = "errorRate"


class ErrorRate:
    """F1 on 5xx answers to roll back, F7 to go on."""

    name = NAME
    part = 5.0

    def __init__(self, settings: ErrorRateCheck) -> None:
        self._settings = settings

    def metric(self) -> Metric:
        """See `Check.metric`."""
        return RareEvents(_events, self._settings.max_ratio, self._settings.max_harm)

    def missing(self, counts: RequestCounts) -> str:
        """See `Check.missing`."""
        return "" if counts.by_code else "requests by code"

    def seen(self, state: State) -> Seen:
        """See `Check.seen`."""
        return seen_ratio(state, "5xx", "requests")

    def gain(self, state: State, next_share: float) -> float:
        """See `Check.gain`."""
        return gain_ratio(state, self._settings.max_ratio, self._settings.max_harm / next_share)

    @property
    def worse(self) -> str:
        """See `Check.worse`."""
        return ratio_words(self._settings.max_ratio)

    def good(self, next_share: float) -> str:
        """See `Check.good`."""
        return bound_words(self._settings.max_ratio, self._settings.max_harm / next_share)


def _events(side: Side) -> Events | None:
    return Events(side.errors, side.requests)
