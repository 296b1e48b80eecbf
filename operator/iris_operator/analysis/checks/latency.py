"""Durations: the mean, and all buckets of the histogram, so that a shift is found as well as a longer tail."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from iris_operator.analysis.arrays import Metric, State
from iris_operator.analysis.check import ForecastStep, Shape, Summary
from iris_operator.analysis.checks.information import information_per_request, requests_to_exclude
from iris_operator.analysis.counts import RequestCounts
from iris_operator.analysis.evidence.location import FREEDOM
from iris_operator.analysis.evidence.logspace import Floats
from iris_operator.analysis.formatting import milliseconds, percent, share_of
from iris_operator.analysis.metrics.durations import Durations, lasting_difference, mean_state
from iris_operator.analysis.metrics.latency import MAX_SHARE, LatencyBuckets
from iris_operator.analysis.metrics.margins import EARLY
from iris_operator.analysis.metrics.mean_duration import PROMOTE_DEVIATIONS, MeanDuration
from iris_operator.api.checks import LatencyCheck
from iris_operator.api.durations import parse_duration

NAME = "latency"
# Arms with so many pods each are proposed where fewer tell too little apart.
_PROPOSED_PODS = (2, 3, 4, 6, 8, 12, 20)
_WORTH_MORE_PODS = 0.7
# For the forecast: the share of requests beyond a bound in the tail, where a small difference takes the most requests,
# and the squared variation of single requests.
_TYPICAL_TAIL = 0.02
_TYPICAL_DISPERSION = 0.5


class Latency:
    """Slower by more than a factor and by more than a difference: t ratios of the means, F3 on the buckets."""

    name = NAME
    weight = 6.5
    cumulative = False

    def __init__(self, settings: LatencyCheck, shape: Shape) -> None:
        self._max_slower = settings.max_slower
        self._min_difference = parse_duration(settings.min_difference)
        self._bounds, self._tiers, self._control = shape.bounds, shape.tiers, shape.control
        self._required_bounds, self._sums = frozenset(shape.bounds), shape.sums
        buckets = LatencyBuckets(
            shape.bounds, settings.max_slower, self._min_difference, len(shape.tiers), control=shape.control
        )
        # A warm cache and a cold one have no comparable means: without a control group they are compared by tier only.
        comparable = shape.sums and not shape.tiers
        self._mean = MeanDuration(settings.max_slower, self._min_difference)
        self._metric = Durations(buckets, self._mean if comparable else None)

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
        if not self._bounds:
            return "durations by any of the other's bounds"
        if self._sums and counts.seconds is None:
            return "sum of durations"
        if self._tiers and counts.cached is None:
            return "durations by tier of the cache"
        for buckets in (counts.at_most, *(counts.cached or {}).values()):
            if not buckets.keys() >= self._required_bounds:
                return f"durations by the bound {milliseconds(min(self._required_bounds - buckets.keys()))}"
        return ""

    def summarize(self, state: State) -> Summary:
        """See `Check.summarize`. The bound that is named is the one at which the two differ most."""
        (n_c, *canary), (n_s, *stable) = (_at_or_beyond(state[name][0].tolist()) for name in ("canary", "stable"))
        of_c, of_s = max(n_c, 1.0), max(n_s, 1.0)
        differences = [slow_c / of_c - slow_s / of_s for slow_c, slow_s in zip(canary, stable, strict=True)]
        at = differences.index(max(differences)) if n_c and n_s else 0
        text = (
            f"{self._means_text(state)}over {milliseconds(self._bounds[at])}: "
            f"canary {share_of(canary[at], n_c, 'requests')}, {self._other} {share_of(stable[at], n_s, 'requests')}"
        )
        if self._metric.buckets.uses_cache(state)[0]:
            text += " as often from the cache"
        return Summary(text, canary[at] / of_c, stable[at] / of_s, int(n_c))

    def evidence_per_request(self, state: State, next_share: float) -> float:
        """See `Check.evidence_per_request`. Of the bound with the least evidence, which the promotion waits for."""
        n_c, n_s = float(state["canary"].sum()), float(state["stable"].sum())
        log_e = state["whole" if next_share >= 1.0 else "step"][0]
        slow = _at_or_beyond(self._metric.buckets.expected(state)[0].tolist())[1:]
        share = slow[int(np.argmin(log_e))]
        return information_per_request(n_c, n_s, share, min(MAX_SHARE / next_share, 1.0 - 1e-9))

    def requests_needed(self, step: ForecastStep) -> float | None:
        """See `Check.requests_needed`."""
        arm = step
        if self._control:
            # As many requests reach the control group, up to half of the traffic.
            reference = min(step.weight, 1.0 - step.weight)
            arm = step._replace(weight=step.weight / (step.weight + reference))
        by_bins = requests_to_exclude(arm, MAX_SHARE, _TYPICAL_TAIL)
        share, one = np.array([step.next_share]), np.ones(1)
        lasting = lasting_difference(self._mean.initial_state(1), one, one)
        margin = float((self._mean.promise(np.full(1, np.inf), lasting, share) - PROMOTE_DEVIATIONS * lasting)[0])
        # Of a t distribution, for a shift that is small against its scale.
        information = (FREEDOM + 1.0) / (FREEDOM + 3.0) / 2.0
        gain = information * margin**2 * max(1.0 - arm.weight, 1e-9) / _TYPICAL_DISPERSION
        return max(by_bins, step.nats / gain)

    def regression_claim(self, state: State) -> str:
        """See `Check.regression_claim`."""
        level = _level(state)
        if self._metric.mean is None or level <= 0:
            return f"slower than {self._other} by more than {milliseconds(self._min_difference)} and the tolerated part"
        bound = math.expm1(float(self._mean.rollback_bound(np.array([level]), _lasting(state))[0]))
        return (
            f"slower than {self._other} by more than {_short(level * bound)} ({percent(bound)}), which is more than is "
            "tolerated and than pods of one version differ by"
        )

    def noninferiority_claim(self, state: State, next_share: float) -> str:
        """See `Check.noninferiority_claim`."""
        level = _level(state)
        if self._metric.mean and level > 0:
            promise = float(self._mean.promise(np.array([level]), _lasting(state), np.array([next_share]))[0])
            return f"slower by less than {_short(level * math.expm1(promise))} ({percent(math.expm1(promise))})"
        times = (EARLY if next_share < 1.0 else 1.0) / next_share
        return f"slower by less than {percent((self._max_slower - 1) * times)}"

    def resolution(self, state: State, arms: tuple[int, int]) -> str:
        """What cannot be told apart with arms of so many pods, in a sentence; empty where means are not measured."""
        if self._metric.mean is None:
            return ""
        of_mean = mean_state(state)
        smallest = self._smallest(of_mean, arms)
        differ = float(lasting_difference(of_mean, np.array([1.0]), np.array([1e12]))[0])
        text = (
            f"pods of one version differ by about {percent(differ)}: with {arms[0]} canary and {arms[1]} control "
            f"{'pod' if arms[1] == 1 else 'pods'}, a version that is slower by less than "
            f"{percent(math.expm1(smallest))} or {milliseconds(self._min_difference)} is not told from an equal one"
        )
        for more in (pods for pods in _PROPOSED_PODS if pods > max(arms)):
            better = self._smallest(of_mean, (more, more))
            if better < _WORTH_MORE_PODS * smallest:
                return f"{text}; with {more} pods each it is {percent(math.expm1(better))}"
        return text

    def _smallest(self, of_mean: State, arms: tuple[int, int]) -> float:
        lasting = lasting_difference(of_mean, np.array([float(arms[0])]), np.array([float(arms[1])]))
        return float(self._mean.rollback_bound(np.array([math.inf]), lasting)[0])

    def _means_text(self, state: State) -> str:
        if self._metric.mean is None:
            return ""
        seconds_c, n_c, seconds_s, n_s = state["mean_totals"][0].tolist()
        if not n_c or not n_s:
            return ""
        return f"mean {_short(seconds_c / n_c)}, {self._other}'s {_short(seconds_s / n_s)}; "

    @property
    def _other(self) -> str:
        return "the control group" if self._control else "stable"


def _level(state: State) -> float:
    """The mean of what the canary is compared with, in seconds; 0 when it is not known."""
    totals = state.get("mean_totals")
    if totals is None:
        return 0.0
    _, _, seconds, requests = totals[0].tolist()
    return seconds / requests if requests else 0.0


def _lasting(state: State) -> Floats:
    """The standard deviation of the lasting difference of the arms as they were last."""
    of_mean = mean_state(state)
    return lasting_difference(of_mean, of_mean["pods"][:, 0], of_mean["pods"][:, 1])


def _short(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"


def _at_or_beyond(bins: Sequence[float]) -> list[float]:
    """How many requests lie in each bin or beyond it."""
    return [*accumulate(reversed(bins))][::-1]
