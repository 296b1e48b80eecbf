"""All checks of a release on one more interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iris_operator.analysis.check import Bounds, CheckResult
from iris_operator.analysis.counts import Interval
from iris_operator.analysis.registry import build_checks
from iris_operator.analysis.verdict import Verdict, combine
from iris_operator.api.spec import Analysis


@dataclass(frozen=True)
class Judgement:
    """What all checks said, together and one by one, and the memory to go on with."""

    verdict: Verdict
    results: tuple[CheckResult, ...]
    memory: Mapping[str, Any]


def judge(interval: Interval, memory: Mapping[str, Any], settings: Analysis, next_weight: int) -> Judgement:
    """Judge the canary after one more interval; `next_weight` in percent.

    The allowed chance of a false rollback is shared out equally among the checks (a union bound).
    """
    checks = build_checks(settings.checks)
    bounds = Bounds(rollback_at=len(checks) / settings.false_rollback, promote_at=1 / settings.missed_regression)
    judged = {
        name: check.judge(interval, memory.get(name, {}), next_weight / 100, bounds) for name, check in checks.items()
    }
    results = tuple(result for result, _ in judged.values())
    return Judgement(
        verdict=combine(result.verdict for result in results),
        results=results,
        memory={name: remembered for name, (_, remembered) in judged.items()},
    )


def unjudged(verdict: Verdict, reason: str, memory: Mapping[str, Any], settings: Analysis) -> Judgement:
    """The judgement when there was nothing to count: every check says the same, and forgets nothing."""
    results = tuple(CheckResult(name, verdict, reason) for name in build_checks(settings.checks))
    return Judgement(verdict=verdict, results=results, memory=memory)
