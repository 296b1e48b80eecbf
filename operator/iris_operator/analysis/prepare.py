"""What is judged: a release's next interval, checked and prepared for the rule."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from iris_operator.analysis.arrays import IntervalArrays
from iris_operator.analysis.build_arrays import build_arrays, fix_shape, inconsistency
from iris_operator.analysis.check import Check, Checkpoint
from iris_operator.analysis.checkpoint import CheckpointState, from_json
from iris_operator.analysis.counts import Interval, RequestCounts, without_requests
from iris_operator.analysis.rule_cache import RuleCache, rule_cache_of
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.checks import Analysis

# Errors that have become normal are trouble again when there are so many times as many.
_USUAL_TIMES = 1.5


@dataclass(frozen=True)
class AnalysisInput:
    """A release and its next interval; see `judge`."""

    interval: Interval
    checkpoint: Checkpoint
    settings: Analysis
    next_weight: int
    step: int = 0
    """The number of the step: another one than in the interval before begins with this one."""
    baseline_only: bool = False
    """Of stable alone, before the canary gets a request; see `update_baseline`."""
    accept_shift: bool = False
    """The trouble that both versions have had for long is what is normal now."""
    alone: bool = False
    """The canary has all of the traffic, and stable has none to compare with: its recorded past has to do."""
    mirrored: bool = False
    """The canary gets mirrored requests only; whether there are any is judged by a check of its own."""
    arms: tuple[int, int] = (1, 1)
    """Pods of the canary and of the control group, as planned: for what cannot be told apart with them."""


@dataclass(frozen=True)
class PreparedInput:
    """An input with valid counts. `unmeasured` has the checks without counts in this interval, and why.

    `next_share` is what the canary would get next, as a fraction; next to nothing for a baseline.
    """

    interval: Interval
    settings: Analysis
    next_weight: int
    baseline_only: bool
    before: CheckpointState
    rule_cache: RuleCache
    unmeasured: Mapping[str, str]
    arrays: IntervalArrays
    step_changed: bool
    next_share: float
    step: int
    arms: tuple[int, int]


def rejection(interval: Interval) -> tuple[Verdict, str] | None:
    """Why the interval cannot be judged at all, with the verdict; None when it can."""
    for revision, counts in _revisions(interval):
        if counts and (reason := inconsistency(counts)):
            return Verdict.ERROR, f"{revision}: {reason}"
    for revision, counts in _revisions(interval):
        if counts is None:
            return Verdict.NO_DATA, f"Prometheus has no requests of the {revision} revision"
    return None


def prepare(analysis_input: AnalysisInput, measured: Collection[str] | None) -> PreparedInput:
    """The input as arrays, with the checks and the state that it goes on from; `measured` as in `judge`."""
    interval, next_weight = analysis_input.interval, analysis_input.next_weight
    before = from_json(analysis_input.checkpoint)
    shape = fix_shape(before.shape, interval, started=before.next_weight > 0)
    rule_cache = rule_cache_of(analysis_input.settings, shape, measured)
    step_changed = (before.next_weight, before.step) != (next_weight, analysis_input.step)
    usual_errors = _usual_errors(before, interval, accepted=analysis_input.accept_shift)
    next_share = max(next_weight, 0.001) / 100
    return PreparedInput(
        interval,
        analysis_input.settings,
        next_weight,
        analysis_input.baseline_only,
        replace(before, shape=shape, usual_errors=usual_errors),
        rule_cache,
        _unmeasured_checks(rule_cache.checks, interval),
        build_arrays(
            interval,
            shape,
            next_share,
            step_changed=step_changed,
            accept_shift=analysis_input.accept_shift,
            error_limit=_USUAL_TIMES * usual_errors,
        ),
        step_changed,
        next_share,
        analysis_input.step,
        analysis_input.arms,
    )


def _usual_errors(before: CheckpointState, interval: Interval, *, accepted: bool) -> float:
    stable = interval.stable
    if not accepted or stable is None or not stable.total:
        return before.usual_errors
    return max(before.usual_errors, stable.server_errors / stable.total)


def side_without_requests(analysis_input: AnalysisInput) -> str:
    """Which version has no request to judge in this interval; empty when both have."""
    if analysis_input.baseline_only or analysis_input.mirrored:
        return ""
    compared = [("canary", analysis_input.interval.canary)]
    if not analysis_input.alone:
        compared.append(("stable version", analysis_input.interval.stable))
    return next((name for name, counts in compared if counts and not counts.total), "")


def _unmeasured_checks(checks: Mapping[str, Check], interval: Interval) -> Mapping[str, str]:
    """The checks for which one of the revisions has no counts, and the reason."""
    unmeasured: dict[str, str] = {}
    for name, check in checks.items():
        for revision, counts in _revisions(interval):
            missing = check.unmeasured(counts) if counts else "requests"
            if missing and name not in unmeasured:
                unmeasured[name] = f"Prometheus has no {missing} of the {revision} revision"
    return unmeasured


def baseline_input(stable: RequestCounts, checkpoint: Checkpoint, settings: Analysis) -> AnalysisInput:
    """The input for an interval of stable alone: a canary without requests."""
    idle = without_requests(stable)
    # Of the same shape as what follows, or what was learnt from the baseline would be lost.
    control = idle if settings.control == "Pods" else None
    return AnalysisInput(Interval(idle, stable, control), checkpoint, settings, 0, baseline_only=True)


def _revisions(interval: Interval) -> tuple[tuple[str, RequestCounts | None], ...]:
    found = [("canary", interval.canary), ("stable", interval.stable)]
    return tuple(found if interval.control is None else [*found, ("control", interval.control)])
