"""Does the router apply the weight that it claims? F10. A wrong split is nobody's regression: it holds."""

from __future__ import annotations

import math

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.evidence.split import log_split
from iris_operator.analysis.sentences import capped_exp, odds, percent
from iris_operator.analysis.verdict import Verdict

NAME = "trafficSplit"
# A split that is off is looked for in every step of every rollout, and it stops one.
_CERTAIN = math.log(1000.0)
# Routers round weights, and connections that stay open keep to a version: a small difference harms nothing.
_SMALL = 0.25


def judge_split(canary: int, stable: int, weight: float) -> CheckResult:
    """The requests of this step against the claimed share of the canary, a fraction."""
    log_e = log_split(canary, stable, weight)
    total = canary + stable
    seen = f"canary got {percent(canary / total) if total else 'none'} of {total:,} requests, weight {percent(weight)}"
    off = total > 0 and abs(canary / total - weight) > _SMALL * min(weight, 1 - weight)
    wrong = log_e >= _CERTAIN and off
    words = f"{seen}: the router does not apply it, evidence {odds(log_e)}" if wrong else seen
    return CheckResult(
        NAME,
        Verdict.HOLD if wrong else Verdict.PASS,
        words,
        canary=round(canary / total, 6) if total else None,
        stable=round(stable / total, 6) if total else None,
        requests=canary,
        worse=capped_exp(log_e),
    )
