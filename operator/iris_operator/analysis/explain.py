"""From the rule's result to each check's verdict and one sentence with the numbers; and the sentence of an incident."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from iris_operator.analysis.arrays import LogEvidence
from iris_operator.analysis.check import Check, CheckResult, Summary
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.formatting import capped_exp, milliseconds, odds, share_of
from iris_operator.analysis.rule import Rule, RuleResult
from iris_operator.analysis.verdict import Verdict

# No rollout waits for more canary requests than this: an estimate of that size means "not foreseeable".
MAX_REQUESTS_MISSING = 1_000_000
# A check is named among those that failed from this part of the largest contribution to the combined e-value on.
_MIN_CONTRIBUTION = 0.5


@dataclass(frozen=True)
class RuleContext:
    """The checks of one release, why some of them were not measured, and the rule over the others."""

    checks: Mapping[str, Check]
    unmeasured: Mapping[str, str]
    rule: Rule


def explain_check(name: str, context: RuleContext, result: RuleResult, next_share: float) -> CheckResult:
    """One check's result for one release, the first row of `result`."""
    if name in context.unmeasured:
        return CheckResult(name, Verdict.NO_DATA, context.unmeasured[name])
    check, rule = context.checks[name], context.rule
    summary, evidence = check.summarize(result.state[name]), result.evidence[name]
    verdict, reason = _verdict_and_reason(name, context, result, summary, next_share)
    requests_missing = 0
    if verdict is Verdict.HOLD:
        missing = max(0.0, rule.promote_at - float(evidence.noninferiority[0]))
        requests_missing = _requests_missing(missing, check.evidence_per_request(result.state[name], next_share))
    return CheckResult(
        name,
        verdict,
        reason,
        canary=None if summary.canary is None else round(summary.canary, 6),
        stable=None if summary.stable is None else round(summary.stable, 6),
        requests=summary.requests,
        regression_e_value=capped_exp(float(evidence.regression[0])),
        noninferiority_e_value=capped_exp(float(evidence.noninferiority[0])),
        thresholds=rule.thresholds[name],
        requests_missing=requests_missing,
    )


def _verdict_and_reason(
    name: str, context: RuleContext, result: RuleResult, summary: Summary, next_share: float
) -> tuple[Verdict, str]:
    check, rule, evidence = context.checks[name], context.rule, result.evidence[name]
    needed = odds(rule.promote_at)
    if summary.requests == 0:
        return Verdict.HOLD, "nothing of the canary could be compared yet"
    if result.rolls_back[0] and _drives_rollback(name, context, result.evidence):
        claim, found = check.regression_claim(result.state[name]), odds(float(result.log_regression[0]))
        return Verdict.FAIL, f"{summary.text}: {claim} with evidence {found}, needed {odds(rule.rollback_at)}"
    noninferiority = float(evidence.noninferiority[0])
    if result.incident.both[0]:
        return Verdict.HOLD, f"{summary.text}: both versions are in trouble in this interval, nothing is concluded"
    claim = check.noninferiority_claim(result.state[name], next_share)
    text = f"{summary.text}: {claim} with evidence {odds(noninferiority)}"
    if noninferiority >= rule.promote_at:
        return Verdict.PASS, f"{text}, needed {needed}"
    return Verdict.HOLD, f"{text}, {needed} is needed"


def _drives_rollback(name: str, context: RuleContext, evidence: Mapping[str, LogEvidence]) -> bool:
    """Does this check contribute most to the combined e-value, or about as much as the one that does?"""
    contributions = {
        each: math.log(context.rule.weights[each]) + float(log_e.regression[0]) for each, log_e in evidence.items()
    }
    return contributions[name] >= max(contributions.values()) + math.log(_MIN_CONTRIBUTION)


def _requests_missing(nats: float, per_request: float) -> int:
    if nats <= 0.0:
        return 1
    needed = nats / per_request if per_request > 0.0 else math.inf
    return math.ceil(needed) if needed < MAX_REQUESTS_MISSING else MAX_REQUESTS_MISSING


def incident_reason(interval: Interval) -> str:
    """What both revisions did in an interval in which both are in trouble."""
    canary, stable = (_describe(counts) if counts else "nothing" for counts in (interval.canary, interval.stable))
    return f"both versions are in trouble at once (in this interval: canary {canary}; stable {stable})"


def _describe(counts: RequestCounts) -> str:
    """The share of failed requests of an interval, and about the median of the durations."""
    text = f"5xx {share_of(counts.server_errors, counts.total, 'requests')}"
    bounds = sorted(bound for bound in counts.at_most if bound < math.inf)
    if not counts.timed or not bounds:
        return text
    half = [bound for bound in bounds if 2 * counts.at_most[bound] >= counts.timed]
    return f"{text}, half of them {f'within {milliseconds(half[0])}' if half else f'over {milliseconds(bounds[-1])}'}"
