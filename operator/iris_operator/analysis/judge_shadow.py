"""What mirrored requests add to a judgement: whether any arrived, and how often both versions agree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from iris_operator.analysis.counts import ShadowCounts
from iris_operator.analysis.judge import Judgement
from iris_operator.analysis.registry import REPORTED, SHADOW_CHECKS, sort_results
from iris_operator.analysis.verdict import combine
from iris_operator.api.status import CheckStatus


def add_shadow_results(
    judgement: Judgement, shadow: ShadowCounts | None, reported: Iterable[CheckStatus], *, in_shadow_step: bool
) -> Judgement:
    """The judgement with the results of mirrored requests; its verdict is that of all checks together.

    `shadow` is None when nothing new was counted; `reported` are the checks of the last status, from which the totals
    go on.
    """
    before = {check.name: check for check in reported}
    found = (check.judge(shadow, before.get(check.name), in_shadow_step) for check in SHADOW_CHECKS)
    results = [result for result in found if result is not None]
    deciding = [result.verdict for result in results if result.name not in REPORTED]
    return replace(
        judgement,
        verdict=combine([judgement.verdict, *deciding]),
        results=sort_results([*judgement.results, *results]),
    )
