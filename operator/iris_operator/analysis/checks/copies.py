"""Has the canary got copies of requests? Without any, nothing is known of it, whatever was known before."""

from __future__ import annotations

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.counts import Copies
from iris_operator.analysis.verdict import Verdict

NAME = "copies"


def judge_copies(copies: Copies | None, before: int) -> CheckResult:
    """Hold until the first. `before` is how many it got in this step so far; None: there is nothing new."""
    requests = before + (copies.counts.total if copies else 0)
    if requests:
        return CheckResult(NAME, Verdict.PASS, f"{requests:,} copies of requests", requests=requests)
    return CheckResult(NAME, Verdict.HOLD, _why(copies))


def _why(copies: Copies | None) -> str:
    if copies is None:
        return "whether copies of requests are sent is not known yet"
    if copies.lost:
        words = ", ".join(f"{count:,} {result}" for result, count in sorted(copies.lost.items()))
        return f"no copy of a request has reached the canary: {words}"
    if copies.planned:
        return "stable's pods have copied no request yet"
    return "no pod of stable copies requests: the plan is still on its way to them, or their image knows of none"
