"""What checks of rare events have in common: events of the requests, as a multiple of stable's and as harm."""

from __future__ import annotations

import math
from collections.abc import Callable

from iris_operator.analysis.arrays import Metric, RevisionArrays, State
from iris_operator.analysis.check import ForecastStep, Summary
from iris_operator.analysis.evidence.information_limit import kl
from iris_operator.analysis.formatting import percent, share_of
from iris_operator.analysis.metrics.margins import EARLY
from iris_operator.analysis.metrics.rare import EventCounts, RareEvents
from iris_operator.api.checks import RatioCheck


class FailureRatio:
    """Failed requests: F1 to roll back, F7 to promote."""

    cumulative = True

    def __init__(self, settings: RatioCheck, select: Callable[[RevisionArrays], EventCounts | None], noun: str) -> None:
        """`select` picks the failures from the counts, `noun` names them in a sentence."""
        self._max_ratio, self._max_harm = settings.max_ratio, settings.max_harm
        self._select, self._noun = select, noun

    def metric(self) -> Metric:
        """See `Check.metric`."""
        return RareEvents(self._select, self._max_ratio, self._max_harm)

    def summarize(self, state: State) -> Summary:
        """See `Check.summarize`."""
        return summarize_ratio(state, self._noun, "requests")

    def evidence_per_request(self, state: State, next_share: float) -> float:
        """See `Check.evidence_per_request`."""
        harm = self._max_harm * (EARLY if next_share < 1.0 else 1.0) / next_share
        return _evidence_per_request(state, self._max_ratio, harm)

    def requests_needed(self, step: ForecastStep) -> float | None:
        """See `Check.requests_needed`."""
        harm = min(self._max_harm * (EARLY if step.next_share < 1.0 else 1.0) / step.next_share, 1 - 1e-9)
        by_harm = kl(step.error_rate, harm) if step.error_rate < harm else 0.0
        limit = step.weight * self._max_ratio / (1 - step.weight + step.weight * self._max_ratio)
        by_ratio = step.error_rate / step.weight * kl(step.weight, limit)
        gain = max(by_harm, by_ratio)
        return step.nats / gain if gain > 0 else math.inf

    def regression_claim(self, _state: State) -> str:
        """See `Check.regression_claim`."""
        times = max(1.0, self._max_ratio / 2)
        return "more than stable's" if times == 1.0 else f"more than {times:g}x stable's"

    def noninferiority_claim(self, _state: State, next_share: float) -> str:
        """See `Check.noninferiority_claim`."""
        harm = self._max_harm * (EARLY if next_share < 1.0 else 1.0) / next_share
        return f"below {percent(min(harm, 1.0))} or {self._max_ratio:g}x stable's"


def summarize_ratio(state: State, noun: str, unit: str) -> Summary:
    """The counts in a state of `RareEvents`: events that `noun` names, of so many of `unit`."""
    x_c, n_c, x_s, n_s = event_counts(state)
    text = f"canary {noun} {share_of(x_c, n_c, unit)}, stable {share_of(x_s, n_s, unit)}"
    return Summary(text, x_c / n_c if n_c else None, x_s / n_s if n_s else None, int(n_c))


def event_counts(state: State) -> tuple[float, float, float, float]:
    """Events and requests of the canary, events and requests of stable."""
    x_c, n_c, x_s, n_s = (float(state[name][0]) for name in ("xc", "nc", "xs", "ns"))
    return x_c, n_c, x_s, n_s


def _evidence_per_request(state: State, max_ratio: float, bound: float) -> float:
    """Nats per canary request if it fails as often as those so far: against the tolerated harm or against the ratio."""
    x_c, n_c, x_s, n_s = event_counts(state)
    rate_c, rate_s = (x / n if n else 0.0 for x, n in ((x_c, n_c), (x_s, n_s)))
    by_bound = kl(rate_c, min(bound, 1 - 1e-9)) if rate_c < bound else 0.0
    if not n_c or not n_s or not x_c + x_s or rate_c >= max_ratio * rate_s:
        return by_bound
    share = n_c / (n_c + n_s)
    share_of_events = x_c / (x_c + x_s)
    limit = share * max_ratio / (1 - share + share * max_ratio)
    return max(by_bound, (x_c + x_s) / n_c * kl(share_of_events, limit))
