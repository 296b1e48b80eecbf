"""Does the router apply the weight that it claims? F10. A wrong split is not the canary's fault: it holds."""

from __future__ import annotations

import math
from dataclasses import replace

from iris_operator.analysis.check import CheckResult, Totals
from iris_operator.analysis.counts import Interval
from iris_operator.analysis.evidence.split import log_split
from iris_operator.analysis.formatting import capped_exp, odds, percent
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.checks import TRAFFIC_SPLIT

NAME = TRAFFIC_SPLIT
# The split is tested in every step of every rollout, and a wrong one stops the rollout: hence a strict level.
_LOG_THRESHOLD = math.log(1000.0)
# Routers round weights, and open connections stay with their version: a small deviation does no harm.
_MIN_DEVIATION = 0.25


def add_requests(before: Totals, interval: Interval, step_changed: bool) -> Totals:
    """The requests of this step with one more interval, if a single weight was applied over all of it.

    The claimed share changes within a step, too, with the pods of both arms: then the count begins anew after the
    interval in which it changed.
    """
    split = (0, 0) if step_changed else before.split
    if interval.weight is None:
        return replace(before, split=split)
    if interval.weight != before.claimed and not step_changed and before.claimed:
        return replace(before, split=(0, 0), claimed=interval.weight)
    canary, stable = (counts.total if counts else 0 for counts in (interval.canary, interval.stable))
    return replace(before, split=(split[0] + canary, split[1] + stable), claimed=interval.weight)


def judge_split(totals: Totals, interval: Interval) -> CheckResult | None:
    """The requests of this step against the claimed share of the canary; None for an interval without a single one."""
    weight = interval.weight
    if weight is None:
        return None
    canary, stable = totals.split
    log_e = log_split(canary, stable, weight)
    total = canary + stable
    text = f"canary got {percent(canary / total) if total else 'none'} of {total:,} requests, weight {percent(weight)}"
    deviates = total > 0 and abs(canary / total - weight) > _MIN_DEVIATION * min(weight, 1 - weight)
    wrong = log_e >= _LOG_THRESHOLD and deviates
    return CheckResult(
        NAME,
        Verdict.HOLD if wrong else Verdict.PASS,
        f"{text}: the router does not apply it, evidence {odds(log_e)}" if wrong else text,
        canary=round(canary / total, 6) if total else None,
        stable=round(stable / total, 6) if total else None,
        requests=canary,
        regression_e_value=capped_exp(log_e),
    )
