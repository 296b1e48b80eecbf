"""5xx answers: does the canary fail more often than stable does over the same time?"""

from __future__ import annotations

import math
from bisect import bisect_left

from iris_operator.analysis.check import Bounds, CheckResult, Memory
from iris_operator.analysis.counts import Interval
from iris_operator.analysis.evidence import (
    GOOD_GRID,
    WORSE_GRID,
    Arm,
    capped_exp,
    log_below,
    log_mean_exp,
    log_rate_ratio,
)
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.spec import ErrorRateCheck

NAME = "errorRate"

# A canary with up to twice stable's errors is not told apart from stable when it is to be cleared.
_CLEARED_RATIO = 2.0
_CLEARED_GRID = (0.25, 0.5, 1.0)
# Where counting what is missing ends; nobody waits for a million requests of a canary.
_FAR_AWAY = 1_000_000


class ErrorRate:
    """Rolls back on evidence of more errors than stable's, passes on evidence of tolerably few."""

    def __init__(self, settings: ErrorRateCheck) -> None:
        self._settings = settings

    def judge(
        self, interval: Interval, memory: Memory, next_weight: float, bounds: Bounds
    ) -> tuple[CheckResult, Memory]:
        """See `Check.judge`."""
        if interval.canary is None or interval.stable is None:
            missing = "canary" if interval.canary is None else "stable"
            return CheckResult(NAME, Verdict.NO_DATA, f"Prometheus has no requests of the {missing} revision"), memory
        canary = Arm(interval.canary.server_errors, interval.canary.total)
        stable = Arm(interval.stable.server_errors, interval.stable.total)
        seen_canary = Arm(*memory.get("canary", (0, 0))).plus(canary)
        seen_stable = Arm(*memory.get("stable", (0, 0))).plus(stable)
        worse = [
            earlier + log_rate_ratio(canary, stable, omega, 1.0)
            for earlier, omega in zip(memory.get("worse") or [0.0] * len(WORSE_GRID), WORSE_GRID, strict=True)
        ]
        cleared = [
            earlier + log_rate_ratio(canary, stable, omega, _CLEARED_RATIO)
            for earlier, omega in zip(memory.get("cleared") or [0.0] * len(_CLEARED_GRID), _CLEARED_GRID, strict=True)
        ]
        # All traffic may suffer `tolerance`; a canary that will carry a small share may be looser in its own.
        tolerated = min(self._settings.tolerance / next_weight, 0.5)
        log_worse = log_mean_exp(worse)
        log_good = _log_good(cleared, seen_canary, tolerated)
        verdict, reason = self._word(seen_canary, seen_stable, stable, log_worse, log_good, bounds, tolerated)
        result = CheckResult(
            NAME,
            verdict,
            reason,
            canary=seen_canary.share,
            stable=seen_stable.share,
            requests=seen_canary.total,
            worse=capped_exp(log_worse),
            good=capped_exp(log_good),
            bounds=bounds,
            requests_missing=_requests_missing(cleared, seen_canary, tolerated, bounds)
            if verdict is Verdict.HOLD
            else 0,
        )
        return result, {
            "canary": [seen_canary.events, seen_canary.total],
            "stable": [seen_stable.events, seen_stable.total],
            "worse": [round(value, 6) for value in worse],
            "cleared": [round(value, 6) for value in cleared],
        }

    def _word(
        self, canary: Arm, stable: Arm, now: Arm, log_worse: float, log_good: float, bounds: Bounds, tolerated: float
    ) -> tuple[Verdict, str]:
        seen = f"{canary} of the canary's requests failed, {stable} of stable's"
        if canary.total == 0 or stable.total == 0:
            return Verdict.HOLD, f"no requests yet: {seen}"
        if log_worse >= math.log(bounds.rollback_at):
            return Verdict.FAIL, f"{seen}: the canary is worse"
        if now.total and now.events / now.total >= self._settings.shared_incident:
            return Verdict.HOLD, f"stable itself fails ({now} in the last interval); nothing is concluded"
        if log_good >= math.log(bounds.promote_at):
            return Verdict.PASS, f"{seen}: below the tolerated {tolerated:.2%}"
        return Verdict.HOLD, f"{seen}: not enough requests yet to rule out {tolerated:.2%}"


def _log_good(cleared: list[float], canary: Arm, tolerated: float) -> float:
    """Half the bet on `no worse than stable`, half on `below what is tolerated`."""
    few = [log_below(canary, tolerated, tolerated * fraction) for fraction in GOOD_GRID]
    return log_mean_exp([log_mean_exp(cleared), log_mean_exp(few)])


def _requests_missing(cleared: list[float], canary: Arm, tolerated: float, bounds: Bounds) -> int:
    """The fewest further requests, all clean, that would pass; found by bisection, as evidence grows with each."""

    def passes(more: int) -> bool:
        arm = Arm(canary.events, canary.total + more)
        return _log_good(cleared, arm, tolerated) >= math.log(bounds.promote_at)

    enough = 1
    while not passes(enough):
        enough *= 2
        if enough > _FAR_AWAY:
            return enough
    return bisect_left(range(enough), True, key=passes)
