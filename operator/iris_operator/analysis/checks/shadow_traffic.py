"""Has the canary received mirrored requests? Without any, nothing is known about it."""

from __future__ import annotations

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.counts import ShadowCounts
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.checks import SHADOW_TRAFFIC
from iris_operator.api.status import CheckStatus

NAME = SHADOW_TRAFFIC


def judge_shadow_traffic(
    shadow: ShadowCounts | None,
    previous: CheckStatus | None,
    in_shadow_step: bool,
) -> CheckResult | None:
    """Hold until the first mirrored request arrives; None in a step that mirrors none.

    `previous` has the number of the step's mirrored requests so far. `shadow` is None when nothing new was counted.
    """
    if not in_shadow_step:
        return None
    requests = (previous.requests if previous else 0) + (shadow.counts.total if shadow else 0)
    if requests:
        return CheckResult(NAME, Verdict.PASS, f"{requests:,} mirrored requests", requests=requests)
    return CheckResult(NAME, Verdict.HOLD, _reason(shadow))


def _reason(shadow: ShadowCounts | None) -> str:
    if shadow is None:
        return "it is not known yet whether requests are mirrored"
    if shadow.undelivered:
        results = ", ".join(f"{count:,} {result}" for result, count in sorted(shadow.undelivered.items()))
        return f"no mirrored request has reached the canary: {results}"
    if shadow.configured:
        return "stable's pods have mirrored no request yet"
    return (
        "no pod of stable mirrors requests: the shadow config has not reached it yet, or its image does not support it"
    )
