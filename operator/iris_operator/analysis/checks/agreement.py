"""How often do both versions say the same? Reported and blamed on nobody: the better one of two versions differs."""

from __future__ import annotations

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.counts import Copies
from iris_operator.analysis.sentences import share_of
from iris_operator.analysis.verdict import Verdict

NAME = "agreement"


def report_agreement(copies: Copies, before: tuple[float, int]) -> CheckResult:
    """The share of copied requests that got the same answers from both, of all so far.

    `before` is what the last report said: that share, a fraction, and of how many requests.
    """
    share, requests = before
    same = round(share * requests) + copies.same
    both = requests + copies.same + copies.different
    return CheckResult(
        NAME,
        Verdict.PASS,
        f"the same answers to {share_of(same, both, 'copied requests')}",
        canary=round(same / both, 6) if both else None,
        requests=both,
    )
