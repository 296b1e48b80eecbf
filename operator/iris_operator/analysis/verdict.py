"""The closed set of words that a check may say."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """Only FAIL rolls back and only PASS promotes; everything else waits."""

    PASS = "Pass"  # noqa: S105 - a word, no password
    FAIL = "Fail"
    HOLD = "Hold"
    NO_DATA = "NoData"
    ERROR = "Error"


# From the most to the least decisive: one failing check is enough, passing takes all of them.
_PRECEDENCE = (Verdict.FAIL, Verdict.ERROR, Verdict.NO_DATA, Verdict.HOLD, Verdict.PASS)


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of all checks together; without any check there is no data."""
    said = list(verdicts)
    return next((verdict for verdict in _PRECEDENCE if verdict in said), Verdict.NO_DATA)
