"""How often do both versions give the same answer? Reported only: the better one of two versions differs, too."""

from __future__ import annotations

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.counts import ShadowCounts
from iris_operator.analysis.formatting import share_of
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.checks import AGREEMENT
from iris_operator.api.status import CheckStatus

NAME = AGREEMENT


def report_agreement(
    shadow: ShadowCounts | None,
    previous: CheckStatus | None,
    _in_shadow_step: bool,
) -> CheckResult | None:
    """The share of mirrored requests with the same answers from both, of all so far; None before the first.

    `previous` has that share and of how many requests it is. `shadow` is None when nothing new was counted.
    """
    same, different = (shadow.same, shadow.different) if shadow else (0, 0)
    if previous is None and not same + different:
        return None
    share, requests = (previous.canary or 0.0, previous.requests) if previous else (0.0, 0)
    agreeing = round(share * requests) + same
    compared = requests + same + different
    return CheckResult(
        NAME,
        Verdict.PASS,
        f"the same answers to {share_of(agreeing, compared, 'mirrored requests')}",
        canary=round(agreeing / compared, 6) if compared else None,
        requests=compared,
    )
