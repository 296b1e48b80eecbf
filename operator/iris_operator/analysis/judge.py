"""All checks of a release on one more interval."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from iris_operator.analysis.check import Bounds, Check, CheckResult, Memory, Seen
from iris_operator.analysis.checks.custom import judge_custom
from iris_operator.analysis.checks.feature_drift import report_features
from iris_operator.analysis.checks.traffic_split import judge_split
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.gather import fix_shape, look_of, nonsense
from iris_operator.analysis.look import Signals
from iris_operator.analysis.memory import Remembered, from_a_row, from_json, in_a_row, to_json
from iris_operator.analysis.registry import build_checks
from iris_operator.analysis.rule import Member, Rule, Ruling
from iris_operator.analysis.sentences import capped_exp, odds, share_of
from iris_operator.analysis.verdict import Verdict, combine
from iris_operator.api.spec import Analysis

# Nobody waits for a million requests of a canary: an estimate beyond that says "for ever".
_FAR_AWAY = 1_000_000
# Of a check's stake in the alarm: from this part on it is named among those that failed.
_BLAMED = 0.5


@dataclass(frozen=True)
class Judgement:
    """What all checks said, together and one by one, and the memory to go on with.

    `incident` is not empty when canary and stable are in trouble at once: the traffic may go back to stable without the
    verdict that the canary failed, to see whether stable recovers.
    """

    verdict: Verdict
    results: tuple[CheckResult, ...]
    memory: Mapping[str, Any]
    incident: str = ""
    worse: float = 1.0
    """The evidence over all checks that the canary is worse, as an e-value: what the rollback is decided on."""
    counted: bool = False
    """Is the interval in the memory? Otherwise it is to be judged again, together with the next: nothing is lost."""


@dataclass(frozen=True)
class _Bench:
    """The checks of one release that have told something, their rule, and why the others have not."""

    checks: Mapping[str, Check]
    silent: Mapping[str, str]
    rule: Rule


def judge(
    interval: Interval,
    memory: Memory,
    settings: Analysis,
    next_weight: int,
    measured: Collection[str] | None = None,
) -> Judgement:
    """Judge the canary after one more interval; `next_weight` in percent.

    `measured` names the checks that the caller can count for at all; the others are left out. All of them when None.
    Any interval whatsoever gives a judgement; counts that cannot be are an Error, and are not added to the memory.
    """
    wrong = next(
        (f"{whose}: {word}" for whose, counts in _revisions(interval) if counts and (word := nonsense(counts))), ""
    )
    if wrong:
        return unjudged(Verdict.ERROR, wrong, memory, settings, measured)
    absent = next((whose for whose, counts in _revisions(interval) if counts is None), "")
    if absent:
        reason = f"Prometheus has no requests of the {absent} revision"
        return unjudged(Verdict.NO_DATA, reason, memory, settings, measured)
    before = from_json(memory)
    shape = fix_shape(before.shape, interval, begun=before.next_weight > 0)
    checks = _chosen(build_checks(settings.checks, shape), measured)
    bench = _seat(checks, interval, settings)
    share = max(next_weight, 0.001) / 100
    changed = before.next_weight != next_weight
    states = {name: from_a_row(before.states.get(name), fresh) for name, fresh in bench.rule.start(1).items()}
    ruling = bench.rule.fold(states, look_of(interval, shape, share, step_changed=changed))
    results = [_result(name, bench, ruling, share) for name in checks]
    custom = {
        each.name: judge_custom(each, interval.custom.get(each.name), before.custom.get(each.name, 0))
        for each in settings.checks.custom
    }
    split = _add_split((0, 0) if changed else before.split, interval)
    if interval.weight is not None:
        results.append(judge_split(*split, interval.weight))
    results += [result for result, _ in custom.values()]
    features = _add_features(before.features, interval)
    report = report_features(features, interval.training) if interval.training else None
    after = Remembered(
        shape,
        next_weight,
        split,
        {**before.states, **{name: in_a_row(state) for name, state in ruling.state.items()}},
        {name: breaches for name, (_, breaches) in custom.items()},
        features,
    )
    return Judgement(
        verdict=combine(result.verdict for result in results),
        results=tuple(results + ([report] if report else [])),
        memory=to_json(after),
        incident=_incident_words(interval) if ruling.incident.both[0] else "",
        worse=capped_exp(float(ruling.worse[0])),
        counted=True,
    )


def learn(stable: RequestCounts, memory: Memory, settings: Analysis, measured: Collection[str] | None = None) -> Memory:
    """Take an interval of stable alone into account, before the canary gets a request.

    It teaches what durations and classes to expect and how much stable's own pods differ: the first interval of the
    canary is then judged as soundly as the last. Nothing is concluded from it.
    """
    idle = replace(stable, by_code={}, at_most=dict.fromkeys(stable.at_most, 0), timed=0, pods=())
    idle = replace(
        idle,
        failures=None if stable.failures is None else 0,
        by_class=None if stable.by_class is None else {},
        correct=None if stable.correct is None else 0,
        incorrect=None if stable.incorrect is None else 0,
    )
    return judge(Interval(canary=idle, stable=stable), memory, settings, 0, measured).memory


def unjudged(
    verdict: Verdict, reason: str, memory: Memory, settings: Analysis, measured: Collection[str] | None = None
) -> Judgement:
    """The judgement when there was nothing to count: every check says the same, and forgets nothing."""
    names = _chosen(build_checks(settings.checks, from_json(memory).shape), measured)
    results = tuple(CheckResult(name, verdict, reason) for name in names)
    return Judgement(verdict=verdict, results=results, memory=memory)


def _chosen(checks: Mapping[str, Check], measured: Collection[str] | None) -> Mapping[str, Check]:
    return {name: check for name, check in checks.items() if measured is None or name in measured}


def _revisions(interval: Interval) -> tuple[tuple[str, RequestCounts | None], ...]:
    return ("canary", interval.canary), ("stable", interval.stable)


def _seat(checks: Mapping[str, Check], interval: Interval, settings: Analysis) -> _Bench:
    """Who can speak: a check for which both revisions were counted."""
    silent: dict[str, str] = {}
    for name, check in checks.items():
        for whose, counts in _revisions(interval):
            lacks = check.missing(counts) if counts else "requests"
            if lacks and name not in silent:
                silent[name] = f"Prometheus has no {lacks} of the {whose} revision"
    speaking = {name: Member(check.metric(), check.part) for name, check in checks.items() if name not in silent}
    rule = Rule(
        speaking,
        settings.false_rollback,
        settings.missed_regression,
        settings.checks.error_rate.shared_incident,
        absent=sum(checks[name].part for name in silent),
    )
    return _Bench(checks, silent, rule)


def _result(name: str, bench: _Bench, ruling: Ruling, share: float) -> CheckResult:
    if name in bench.silent:
        return CheckResult(name, Verdict.NO_DATA, bench.silent[name])
    check, rule = bench.checks[name], bench.rule
    seen, signals = check.seen(ruling.state[name]), ruling.signals[name]
    verdict, reason = _word(name, bench, ruling, seen, share)
    lacking = max(0.0, rule.promote_at - float(signals.good[0]))
    return CheckResult(
        name,
        verdict,
        reason,
        canary=None if seen.canary is None else round(seen.canary, 6),
        stable=None if seen.stable is None else round(seen.stable, 6),
        requests=seen.requests,
        worse=capped_exp(float(signals.worse[0])),
        good=capped_exp(float(signals.good[0])),
        bounds=Bounds(
            rollback_at=round(math.exp(rule.rollback_at) / rule.weights[name], 4),
            promote_at=round(math.exp(rule.promote_at), 4),
        ),
        requests_missing=_missing(lacking, check.gain(ruling.state[name], share)) if verdict is Verdict.HOLD else 0,
    )


def _word(name: str, bench: _Bench, ruling: Ruling, seen: Seen, share: float) -> tuple[Verdict, str]:
    """One sentence with the numbers in it."""
    check, rule, signals = bench.checks[name], bench.rule, ruling.signals[name]
    needed = odds(rule.promote_at)
    if seen.requests == 0:
        return Verdict.HOLD, f"{seen.text}: nothing to judge yet"
    if ruling.fails[0] and _blamed(name, bench, ruling.signals):
        return Verdict.FAIL, (
            f"{seen.text}: {check.worse} with evidence {odds(float(ruling.worse[0]))}, needed {odds(rule.rollback_at)}"
        )
    good = float(signals.good[0])
    if ruling.incident.stable[0]:
        return Verdict.HOLD, f"{seen.text}: stable itself is in trouble in this interval, nothing is concluded"
    words = f"{seen.text}: {check.good(share)} with evidence {odds(good)}"
    if good >= rule.promote_at:
        return Verdict.PASS, f"{words}, needed {needed}"
    return Verdict.HOLD, f"{words}, {needed} is needed"


def _blamed(name: str, bench: _Bench, signals: Mapping[str, Signals]) -> bool:
    """Does this check carry the alarm? The one with the most evidence does, and any other with about as much."""
    stakes = {each: math.log(bench.rule.weights[each]) + float(signal.worse[0]) for each, signal in signals.items()}
    return stakes[name] >= max(stakes.values()) + math.log(_BLAMED)


def _missing(nats: float, gain: float) -> int:
    if nats <= 0.0:
        return 1
    return min(_FAR_AWAY, math.ceil(nats / gain)) if gain > 0.0 else _FAR_AWAY


def _add_split(before: tuple[int, int], interval: Interval) -> tuple[int, int]:
    canary, stable = (counts.total if counts else 0 for _, counts in _revisions(interval))
    return before[0] + canary, before[1] + stable


def _add_features(before: Mapping[str, tuple[int, ...]], interval: Interval) -> Mapping[str, tuple[int, ...]]:
    """Both versions' requests together; only where training data is there to compare with."""
    after = dict(before)
    for _, counts in _revisions(interval):
        for name, buckets in ((counts.features if counts else None) or {}).items():
            if not interval.training or name not in interval.training or len(buckets) != len(interval.training[name]):
                continue
            old = after.get(name, (0,) * len(buckets))
            if len(old) == len(buckets):
                after[name] = tuple(a + b for a, b in zip(old, buckets, strict=True))
    return after


def _incident_words(interval: Interval) -> str:
    canary, stable = (
        share_of(counts.server_errors, counts.total, "requests") if counts else "nothing"
        for _, counts in _revisions(interval)
    )
    return f"both versions are in trouble at once (5xx: canary {canary}, stable {stable} in this interval)"
