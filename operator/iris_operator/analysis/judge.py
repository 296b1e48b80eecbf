"""All checks of a release on one more interval."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from iris_operator.analysis.check import Check, CheckResult, Memory
from iris_operator.analysis.checks import feature_drift
from iris_operator.analysis.checks.custom import judge_custom
from iris_operator.analysis.checks.traffic_split import judge_split
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.evidence.logspace import Floats
from iris_operator.analysis.gather import fix_shape, look_of, nonsense
from iris_operator.analysis.look import Look, stack_looks
from iris_operator.analysis.memory import Remembered, from_json, to_json
from iris_operator.analysis.panel import Board, Panel, board_of
from iris_operator.analysis.rule import Rule, Ruling
from iris_operator.analysis.sentences import capped_exp
from iris_operator.analysis.verdict import Verdict, combine
from iris_operator.analysis.words import Bench, incident_words, result_of
from iris_operator.api.spec import Analysis


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
    trouble: bool = False
    """Is stable itself in trouble, whatever the canary does?"""
    worse: float = 1.0
    """The evidence over all checks that the canary is worse, as an e-value: what the rollback is decided on."""
    counted: bool = False
    """Is the interval in the memory? Otherwise it is to be judged again, together with the next: nothing is lost."""


@dataclass(frozen=True)
class Case:
    """A release and its next interval; see `judge`."""

    interval: Interval
    memory: Memory
    settings: Analysis
    next_weight: int
    lesson: bool = False
    """Of stable alone, before the canary gets a request; see `learn`."""


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
    return judge_fleet([Case(interval, memory, settings, next_weight)], measured)[0]


def judge_fleet(cases: Sequence[Case], measured: Collection[str] | None = None) -> list[Judgement]:
    """Judge many releases at once: those with the same settings are evaluated together, at little more than one's."""
    judgements: dict[int, Judgement] = {}
    alike: dict[Panel, list[tuple[int, _Prepared]]] = {}
    for at, case in enumerate(cases):
        reason = _unjudgeable(case.interval)
        if reason:
            judgements[at] = unjudged(*reason, case.memory, case.settings, measured)
            continue
        prepared = _prepare(case, measured)
        alike.setdefault(prepared.board.panel(prepared.silent), []).append((at, prepared))
    for panel, group in alike.items():
        ruling = _rule_on(panel, [prepared for _, prepared in group])
        kept = {name: layout.rows(ruling.state[name]) for name, layout in panel.layouts.items()}
        for row, (at, prepared) in enumerate(group):
            own = {name: rows[row] for name, rows in kept.items()}
            judgements[at] = _conclude(prepared, panel.rule, ruling.of(row) if len(group) > 1 else ruling, own)
    return [judgements[at] for at in range(len(cases))]


@dataclass(frozen=True)
class _Prepared:
    """A case whose counts can be judged. `silent` says why some of its checks have nothing to say."""

    case: Case
    before: Remembered
    board: Board
    silent: Mapping[str, str]
    look: Look
    changed: bool
    tells_features: bool

    @property
    def share(self) -> float:
        """What the canary would get next, as a fraction; while it learns, next to nothing."""
        return max(self.case.next_weight, 0.001) / 100


def _unjudgeable(interval: Interval) -> tuple[Verdict, str] | None:
    for whose, counts in _revisions(interval):
        if counts and (word := nonsense(counts)):
            return Verdict.ERROR, f"{whose}: {word}"
    for whose, counts in _revisions(interval):
        if counts is None:
            return Verdict.NO_DATA, f"Prometheus has no requests of the {whose} revision"
    return None


def _prepare(case: Case, measured: Collection[str] | None) -> _Prepared:
    before = from_json(case.memory)
    shape = fix_shape(before.shape, case.interval, begun=before.next_weight > 0)
    board = board_of(case.settings, shape, measured)
    changed = before.next_weight != case.next_weight
    look = look_of(case.interval, shape, max(case.next_weight, 0.001) / 100, step_changed=changed)
    tells_features = not case.lesson and (measured is None or feature_drift.NAME in measured)
    silent = _silent(board.checks, case.interval)
    return _Prepared(case, replace(before, shape=shape), board, silent, look, changed, tells_features)


def _silent(checks: Mapping[str, Check], interval: Interval) -> Mapping[str, str]:
    """The checks for which one of the revisions was not counted, and why."""
    silent: dict[str, str] = {}
    for name, check in checks.items():
        for whose, counts in _revisions(interval):
            lacks = check.missing(counts) if counts else "requests"
            if lacks and name not in silent:
                silent[name] = f"Prometheus has no {lacks} of the {whose} revision"
    return silent


def _rule_on(panel: Panel, members: Sequence[_Prepared]) -> Ruling:
    """The ruling on releases that are alike."""
    states = {
        name: layout.state([member.before.states.get(name) for member in members])
        for name, layout in panel.layouts.items()
    }
    looks = [member.look for member in members]
    return panel.rule.fold(states, looks[0] if len(looks) == 1 else stack_looks(looks))


def _conclude(prepared: _Prepared, rule: Rule, ruling: Ruling, kept: Mapping[str, Floats]) -> Judgement:
    """The words, and the memory, of one release; `kept` are the numbers of each check's state."""
    case, before = prepared.case, prepared.before
    interval = case.interval
    checks = prepared.board.checks
    bench = Bench(checks, prepared.silent, rule)
    results = [result_of(name, bench, ruling, prepared.share) for name in checks]
    custom = {
        each.name: judge_custom(each, interval.custom.get(each.name), before.custom.get(each.name, 0))
        for each in (() if case.lesson else case.settings.checks.custom)
    }
    split = _add_split((0, 0) if prepared.changed else before.split, interval)
    if interval.weight is not None:
        results.append(judge_split(*split, interval.weight))
    results += [result for result, _ in custom.values()]
    features = feature_drift.add_values(before.features, interval)
    reports = [feature_drift.report_features(features, interval)] if prepared.tells_features else []
    after = Remembered(
        before.shape,
        case.next_weight,
        split,
        {**before.states, **kept},
        {**before.custom, **{name: breaches for name, (_, breaches) in custom.items()}},
        features,
    )
    return Judgement(
        verdict=combine(result.verdict for result in results),
        results=(*results, *reports),
        memory=to_json(after),
        incident=incident_words(interval) if ruling.incident.both[0] else "",
        trouble=bool(ruling.incident.stable[0]),
        worse=capped_exp(float(ruling.worse[0])),
        counted=True,
    )


def learn(stable: RequestCounts, memory: Memory, settings: Analysis, measured: Collection[str] | None = None) -> Memory:
    """Take an interval of stable alone into account, before the canary gets a request.

    It teaches what durations and classes to expect and how much stable's own pods differ: the first interval of the
    canary is then judged as soundly as the last. Nothing is concluded from it.
    """
    return judge_fleet([lesson(stable, memory, settings)], measured)[0].memory


def lesson(stable: RequestCounts, memory: Memory, settings: Analysis) -> Case:
    """The case of `learn`: a canary that did nothing."""
    idle = replace(
        stable,
        by_code={},
        at_most=dict.fromkeys(stable.at_most, 0),
        timed=0,
        cached=None if stable.cached is None else {name: dict.fromkeys(of, 0) for name, of in stable.cached.items()},
        failures=None if stable.failures is None else 0,
        by_class=None if stable.by_class is None else {},
        features=None,
        correct=None if stable.correct is None else 0,
        incorrect=None if stable.incorrect is None else 0,
        pods=(),
    )
    return Case(Interval(canary=idle, stable=stable), memory, settings, 0, lesson=True)


def unjudged(
    verdict: Verdict, reason: str, memory: Memory, settings: Analysis, measured: Collection[str] | None = None
) -> Judgement:
    """The judgement when there was nothing to count: every check says the same, and forgets nothing."""
    checks = board_of(settings, from_json(memory).shape, measured).checks
    results = tuple(CheckResult(name, verdict, reason) for name in checks)
    return Judgement(verdict=verdict, results=results, memory=memory)


def _revisions(interval: Interval) -> tuple[tuple[str, RequestCounts | None], ...]:
    return ("canary", interval.canary), ("stable", interval.stable)


def _add_split(before: tuple[int, int], interval: Interval) -> tuple[int, int]:
    """Only intervals that have a single weight from end to end."""
    if interval.weight is None:
        return before
    canary, stable = (counts.total if counts else 0 for _, counts in _revisions(interval))
    return before[0] + canary, before[1] + stable
