"""The results of mirrored requests, added to what an analysis gave."""

from __future__ import annotations

from dataclasses import replace

from iris_operator.analysis.counts import ShadowCounts
from iris_operator.analysis.judge_shadow import add_shadow_results
from iris_operator.engine.release import Release
from iris_operator.rollout.observation import AnalysisResult


def with_shadow_results(
    release: Release, result: AnalysisResult, shadow: ShadowCounts | None = None, *, in_shadow_step: bool = False
) -> AnalysisResult:
    """The result with the checks of mirrored requests; `shadow` is None when nothing new was counted.

    The totals go on from those in the release's status.
    """
    reported = release.status.analysis.checks if release.status.analysis else ()
    judgement = add_shadow_results(result.judgement, shadow, reported, in_shadow_step=in_shadow_step)
    return replace(result, judgement=judgement)
