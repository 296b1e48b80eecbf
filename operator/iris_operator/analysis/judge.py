"""All checks of a release on one more interval."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from iris_operator.analysis.arrays import stack
from iris_operator.analysis.check import Checkpoint, CheckResult
from iris_operator.analysis.checkpoint import from_json, to_json
from iris_operator.analysis.checks import latency
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.evidence.logspace import Floats
from iris_operator.analysis.explain import RuleContext, explain_check, incident_reason
from iris_operator.analysis.formatting import capped_exp
from iris_operator.analysis.prepare import (
    AnalysisInput,
    PreparedInput,
    baseline_input,
    prepare,
    rejection,
    side_without_requests,
)
from iris_operator.analysis.registry import CUSTOM, REPORTED, TOTALS_CHECKS, sort_results
from iris_operator.analysis.rule import Rule, RuleResult
from iris_operator.analysis.rule_cache import CheckSet, rule_cache_of
from iris_operator.analysis.verdict import Verdict, combine
from iris_operator.api.checks import Analysis


@dataclass(frozen=True)
class Judgement:
    """The verdict over all checks, each check's result, and the checkpoint from which the next interval goes on.

    `incident` is not empty when canary and stable are in trouble at once: the traffic may go back to stable without the
    verdict that the canary failed, to see whether stable recovers.
    """

    verdict: Verdict
    results: tuple[CheckResult, ...]
    checkpoint: Mapping[str, Any]
    incident: str = ""
    stable_incident: bool = False
    """Is stable itself in trouble, whatever the canary does?"""
    regression_e_value: float = 1.0
    """The combined e-value of all checks that the canary is worse, on which the rollback is decided."""
    resolution: str = ""
    """What cannot be told apart with the pods there are."""
    counted: bool = False
    """Is the interval in the checkpoint? Otherwise it must be judged again, together with the next one."""


def judge(
    interval: Interval,
    checkpoint: Checkpoint,
    settings: Analysis,
    next_weight: int,
    measured: Collection[str] | None = None,
) -> Judgement:
    """Judge the canary after one more interval; `next_weight` in percent.

    `measured` names the checks for which the caller has counts at all, None means all; the others are left out.
    Any interval whatsoever gives a judgement; impossible counts are an Error and do not change the checkpoint.
    """
    return judge_fleet([AnalysisInput(interval, checkpoint, settings, next_weight)], measured)[0]


def judge_fleet(inputs: Sequence[AnalysisInput], measured: Collection[str] | None = None) -> list[Judgement]:
    """Judge many releases at once: those with the same settings are evaluated together, for little more than one."""
    judgements: dict[int, Judgement] = {}
    groups: dict[CheckSet, list[tuple[int, PreparedInput]]] = {}
    for at, analysis_input in enumerate(inputs):
        reason = rejection(analysis_input.interval)
        if reason:
            judgements[at] = unjudged(*reason, analysis_input.checkpoint, analysis_input.settings, measured)
            continue
        prepared = prepare(analysis_input, measured)
        if who := side_without_requests(analysis_input):
            judgements[at] = _wait_for_requests(prepared, who, measured)
            continue
        groups.setdefault(prepared.rule_cache.check_set(prepared.unmeasured), []).append((at, prepared))
    for check_set, group in groups.items():
        result = _apply_rule(check_set, [prepared for _, prepared in group])
        states = {name: layout.rows(result.state[name]) for name, layout in check_set.layouts.items()}
        for row, (at, prepared) in enumerate(group):
            own = {name: rows[row] for name, rows in states.items()}
            of_release = result.for_release(row) if len(group) > 1 else result
            judgements[at] = _build_judgement(prepared, check_set.rule, of_release, own, measured)
    return [judgements[at] for at in range(len(inputs))]


def _wait_for_requests(prepared: PreparedInput, who: str, measured: Collection[str] | None) -> Judgement:
    """The judgement of an interval in which one side has no request: it is judged together with the next one.

    The queries of the user are asked all the same.
    """
    reason = f"no request of the {who} since what was judged last"
    waiting = unjudged(Verdict.HOLD, reason, to_json(prepared.before), prepared.settings, measured)
    custom, breaches = _judge_custom(prepared)
    results = [*waiting.results, *custom]
    return replace(
        waiting,
        verdict=combine(each.verdict for each in results),
        results=sort_results(results),
        checkpoint=to_json(replace(prepared.before, custom=breaches)),
    )


def _judge_custom(prepared: PreparedInput) -> tuple[list[CheckResult], dict[str, int]]:
    """The results of the user's queries, and how often in a row each has breached its bounds."""
    results: list[CheckResult] = []
    names = {query.name for query in prepared.settings.checks.custom}
    # A query that was taken out of the spec leaves nothing behind.
    breaches = {name: count for name, count in prepared.before.custom.items() if name in names}
    for query in () if prepared.baseline_only else prepared.settings.checks.custom:
        value = prepared.interval.custom.get(query.name)
        judged, breaches[query.name] = CUSTOM.judge(query, value, breaches.get(query.name, 0))
        results.append(judged)
    return results, breaches


def _apply_rule(check_set: CheckSet, group: Sequence[PreparedInput]) -> RuleResult:
    """The rule's result for releases with the same set of checks."""
    states = {
        name: layout.state([member.before.states.get(name) for member in group])
        for name, layout in check_set.layouts.items()
    }
    arrays = [member.arrays for member in group]
    return check_set.rule.update(states, arrays[0] if len(arrays) == 1 else stack(arrays))


def _build_judgement(
    prepared: PreparedInput,
    rule: Rule,
    result: RuleResult,
    states: Mapping[str, Floats],
    measured: Collection[str] | None,
) -> Judgement:
    """The judgement of one release; `states` are the rows of numbers of each check's state."""
    before, interval, checks = prepared.before, prepared.interval, prepared.rule_cache.checks
    context = RuleContext(checks, prepared.unmeasured, rule)
    results = [explain_check(name, context, result, prepared.next_share) for name in checks]
    totals = before.totals
    for check in TOTALS_CHECKS:
        totals = check.add(totals, interval, prepared.step_changed)
        if not prepared.baseline_only and (check.always_measured or measured is None or check.name in measured):
            found = check.judge(totals, interval)
            results += [found] if found else []
    custom, breaches = _judge_custom(prepared)
    results += custom
    after = replace(
        before,
        next_weight=prepared.next_weight,
        step=prepared.step,
        totals=totals,
        states={**before.states, **states},
        custom=breaches,
    )
    return Judgement(
        verdict=combine(each.verdict for each in results if each.name not in REPORTED),
        results=sort_results(results),
        checkpoint=to_json(after),
        incident=incident_reason(interval) if result.incident.both[0] else "",
        stable_incident=bool(result.incident.stable[0]),
        regression_e_value=capped_exp(float(result.log_regression[0])),
        resolution=_resolution(prepared, result),
        counted=True,
    )


def _resolution(prepared: PreparedInput, result: RuleResult) -> str:
    check = prepared.rule_cache.checks.get(latency.NAME)
    if not isinstance(check, latency.Latency) or latency.NAME not in result.state:
        return ""
    return check.resolution(result.state[latency.NAME], prepared.arms)


def update_baseline(
    stable: RequestCounts, checkpoint: Checkpoint, settings: Analysis, measured: Collection[str] | None = None
) -> Checkpoint:
    """Take an interval of stable alone into account, before the canary gets a request.

    It gives the durations and classes to expect and how much stable's own pods differ, so that the first interval of
    the canary is judged as soundly as the last. Nothing is concluded from it.
    """
    return judge_fleet([baseline_input(stable, checkpoint, settings)], measured)[0].checkpoint


def unjudged(
    verdict: Verdict, reason: str, checkpoint: Checkpoint, settings: Analysis, measured: Collection[str] | None = None
) -> Judgement:
    """The judgement when there was nothing to count: the same result for every check, and an unchanged checkpoint."""
    checks = rule_cache_of(settings, from_json(checkpoint).shape, measured).checks
    results = tuple(CheckResult(name, verdict, reason) for name in checks)
    return Judgement(verdict=verdict, results=results, checkpoint=checkpoint)
