"""Slow answers: does the canary take long more often than stable does over the same time?

First form: the rate-ratio evidence on the requests slower than each histogram bound, averaged over the bounds,
and a plain comparison with enough requests to pass.
"""

from __future__ import annotations

import math

from iris_operator.analysis.check import Bounds, CheckResult, Memory
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.evidence import WORSE_GRID, Arm, capped_exp, log_mean_exp, log_rate_ratio
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.durations import parse_duration
from iris_operator.api.spec import LatencyCheck

NAME = "latency"


class Latency:
    """Rolls back when clearly more of the canary's requests are slow, passes when about as few are as stable's."""

    def __init__(self, settings: LatencyCheck) -> None:
        self._settings = settings
        self._floor = parse_duration(settings.floor)
        self._grid = [settings.margin * omega for omega in WORSE_GRID]

    def judge(
        self,
        interval: Interval,
        memory: Memory,
        next_weight: float,  # noqa: ARG002 - part of the Protocol
        bounds: Bounds,
    ) -> tuple[CheckResult, Memory]:
        """See `Check.judge`; the next weight plays no part here."""
        if interval.canary is None or interval.stable is None:
            missing = "canary" if interval.canary is None else "stable"
            return CheckResult(NAME, Verdict.NO_DATA, f"Prometheus has no latencies of the {missing} revision"), memory
        limits = _shared_bounds(interval.canary, interval.stable, self._floor)
        if not limits:
            return CheckResult(
                NAME, Verdict.NO_DATA, f"no histogram bound at or above the floor {self._settings.floor}"
            ), memory
        rows = {
            bound: self._row(bound, interval.canary, interval.stable, memory.get(str(bound), {})) for bound in limits
        }
        log_worse = log_mean_exp([value for row in rows.values() for value in row["worse"]])
        verdict, reason, bound = self._word(rows, log_worse, bounds)
        canary, stable = _seen(rows[bound], "canary"), _seen(rows[bound], "stable")
        result = CheckResult(
            NAME,
            verdict,
            reason,
            canary=canary.share,
            stable=stable.share,
            requests=canary.total,
            worse=capped_exp(log_worse),
            bounds=bounds,
            requests_missing=max(0, self._settings.min_requests - canary.total) if verdict is Verdict.HOLD else 0,
        )
        return result, {str(bound): row for bound, row in rows.items()}

    def _row(
        self, bound: float, canary: RequestCounts, stable: RequestCounts, earlier: Memory
    ) -> dict[str, list[float]]:
        arms = {
            "canary": Arm(canary.slower_than(bound), canary.timed),
            "stable": Arm(stable.slower_than(bound), stable.timed),
        }
        worse = earlier.get("worse") or [0.0] * len(self._grid)
        return {
            **{
                name: [old + new for old, new in zip(earlier.get(name) or [0, 0], (arm.events, arm.total), strict=True)]
                for name, arm in arms.items()
            },
            "worse": [
                round(old + log_rate_ratio(arms["canary"], arms["stable"], omega, self._settings.margin), 6)
                for old, omega in zip(worse, self._grid, strict=True)
            ],
        }

    def _word(
        self, rows: dict[float, dict[str, list[float]]], log_worse: float, bounds: Bounds
    ) -> tuple[Verdict, str, float]:
        telling = max(rows, key=lambda bound: self._excess(rows[bound]))
        canary, stable = _seen(rows[telling], "canary"), _seen(rows[telling], "stable")
        seen = f"{canary} of the canary's requests took over {telling * 1000:g} ms, {stable} of stable's"
        if canary.total == 0 or stable.total == 0:
            return Verdict.HOLD, f"no requests yet: {seen}", telling
        exceeded = self._excess(rows[telling]) > 0
        if exceeded and log_worse >= math.log(bounds.rollback_at):
            return Verdict.FAIL, f"{seen}: the canary is slower", telling
        if canary.total < self._settings.min_requests:
            return Verdict.HOLD, f"{canary.total} of at least {self._settings.min_requests} canary requests", telling
        if exceeded:
            return Verdict.HOLD, f"{seen}: more than tolerated, not enough evidence yet", telling
        return Verdict.PASS, f"{seen}: within what is tolerated", telling

    def _excess(self, row: dict[str, list[float]]) -> float:
        """How far the canary's slow share lies above what is tolerated; negative when below."""
        canary, stable = _seen(row, "canary"), _seen(row, "stable")
        if not canary.total or not stable.total:
            return -1.0
        allowed = max(self._settings.margin * stable.events / stable.total, self._settings.tolerance)
        return canary.events / canary.total - allowed


def _shared_bounds(canary: RequestCounts, stable: RequestCounts, floor: float) -> list[float]:
    """Bounds that both histograms have; two versions of a service may have changed them."""
    return sorted(
        bound for bound in canary.at_most if bound in stable.at_most and bound >= floor and math.isfinite(bound)
    )


def _seen(row: dict[str, list[float]], arm: str) -> Arm:
    events, total = row[arm]
    return Arm(int(events), int(total))
