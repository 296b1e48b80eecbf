"""The user's own query with a bound. No statistics: so many breaches in a row fail."""

from __future__ import annotations

import math

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.spec import CustomCheck


def judge_custom(settings: CustomCheck, value: float | str | None, breaches: int) -> tuple[CheckResult, int]:
    """One answer of the query after so many breaches in a row; None or NaN is no answer. Returns the breaches now.

    A text is why the query failed: that is an Error whatever `noData` says, and counts for nothing.
    """
    if isinstance(value, str):
        return CheckResult(settings.name, Verdict.ERROR, value), breaches
    if value is None or math.isnan(value):
        return _unanswered(settings, breaches)
    low, high = settings.min, settings.max
    if (low is not None and value < low) or (high is not None and value > high):
        return _breached(settings, breaches + 1, f"{value:g} is outside {_range(low, high)}")
    reason = f"{value:g} is within {_range(low, high)}"
    return CheckResult(settings.name, Verdict.PASS, reason, canary=value), 0


def _unanswered(settings: CustomCheck, breaches: int) -> tuple[CheckResult, int]:
    words = "the query has no number for an answer"
    if settings.no_data == "Ignore":
        return CheckResult(settings.name, Verdict.PASS, f"{words}; noData is Ignore"), breaches
    if settings.no_data == "Fail":
        return _breached(settings, breaches + 1, f"{words}; noData is Fail")
    return CheckResult(settings.name, Verdict.NO_DATA, f"{words}; noData is Hold"), breaches


def _breached(settings: CustomCheck, breaches: int, words: str) -> tuple[CheckResult, int]:
    verdict = Verdict.FAIL if breaches >= settings.breaches else Verdict.HOLD
    return CheckResult(settings.name, verdict, f"{words}, {breaches} of {settings.breaches} times in a row"), breaches


def _range(low: float | None, high: float | None) -> str:
    return f"[{'-inf' if low is None else f'{low:g}'}, {'inf' if high is None else f'{high:g}'}]"
