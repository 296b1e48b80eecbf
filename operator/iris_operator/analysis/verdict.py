"""The closed set of verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """Only FAIL rolls back and only PASS promotes; with any other the release waits."""

    PASS = "Pass"  # noqa: S105 - a verdict, not a password
    FAIL = "Fail"
    HOLD = "Hold"
    NO_DATA = "NoData"
    ERROR = "Error"


# From the most to the least decisive: one failing check is enough, passing takes all of them.
_PRECEDENCE = (Verdict.FAIL, Verdict.ERROR, Verdict.NO_DATA, Verdict.HOLD, Verdict.PASS)


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict over all checks; NO_DATA without any."""
    given = list(verdicts)
    return next((verdict for verdict in _PRECEDENCE if verdict in given), Verdict.NO_DATA)
