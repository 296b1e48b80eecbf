"""The user's own query with bounds. No statistics: a number of breaches in a row fails."""

from __future__ import annotations

import math

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.checks import CustomCheck

NAME = "custom"
"""Of the field in the spec, and of these checks together as a cause of rollbacks; each has a name of its own."""


def judge_custom(settings: CustomCheck, value: float | str | None, breaches: int) -> tuple[CheckResult, int]:
    """Judge the result of the query after `breaches` in a row; returns the breaches with this one.

    `value` is None or NaN when the result has no number, and a text when the query failed: the reason. That is an Error
    whatever `noData` is, and does not change the number of breaches.
    """
    if isinstance(value, str):
        return CheckResult(settings.name, Verdict.ERROR, value), breaches
    if value is None or math.isnan(value):
        return _no_data(settings, breaches)
    low, high = settings.min, settings.max
    if (low is not None and value < low) or (high is not None and value > high):
        return _breached(settings, breaches + 1, f"{value:g} is outside {_range(low, high)}")
    reason = f"{value:g} is within {_range(low, high)}"
    return CheckResult(settings.name, Verdict.PASS, reason, canary=value), 0


def _no_data(settings: CustomCheck, breaches: int) -> tuple[CheckResult, int]:
    reason = "the query has no number for an answer"
    if settings.no_data == "Ignore":
        return CheckResult(settings.name, Verdict.PASS, f"{reason}; noData is Ignore"), breaches
    if settings.no_data == "Fail":
        return _breached(settings, breaches + 1, f"{reason}; noData is Fail")
    return CheckResult(settings.name, Verdict.NO_DATA, f"{reason}; noData is Hold"), breaches


def _breached(settings: CustomCheck, breaches: int, reason: str) -> tuple[CheckResult, int]:
    verdict = Verdict.FAIL if breaches >= settings.breaches else Verdict.HOLD
    return CheckResult(settings.name, verdict, f"{reason}, {breaches} of {settings.breaches} times in a row"), breaches


def _range(low: float | None, high: float | None) -> str:
    return f"[{'-inf' if low is None else f'{low:g}'}, {'inf' if high is None else f'{high:g}'}]"
