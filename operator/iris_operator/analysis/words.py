"""What each check says of a ruling: a verdict, and one sentence with the numbers in it; and those of an incident."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from iris_operator.analysis.check import Check, CheckResult, Seen
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.look import Signals
from iris_operator.analysis.rule import Rule, Ruling
from iris_operator.analysis.sentences import capped_exp, milliseconds, odds, share_of
from iris_operator.analysis.verdict import Verdict

# Nobody waits for a million requests of a canary: an estimate beyond that says "for ever".
FAR_AWAY = 1_000_000
# Of a check's stake in the alarm: from this part on it is named among those that failed.
_BLAMED = 0.5


@dataclass(frozen=True)
class Bench:
    """The checks of one release that have told something, their rule, and why the others have not."""

    checks: Mapping[str, Check]
    silent: Mapping[str, str]
    rule: Rule


def result_of(name: str, bench: Bench, ruling: Ruling, share: float) -> CheckResult:
    """One check's word about one release: the first row of `ruling`."""
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
        bounds=rule.bounds[name],
        requests_missing=_missing(lacking, check.gain(ruling.state[name], share)) if verdict is Verdict.HOLD else 0,
    )


def _word(name: str, bench: Bench, ruling: Ruling, seen: Seen, share: float) -> tuple[Verdict, str]:
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


def _blamed(name: str, bench: Bench, signals: Mapping[str, Signals]) -> bool:
    """Does this check carry the alarm? The one with the most evidence does, and any other with about as much."""
    stakes = {each: math.log(bench.rule.weights[each]) + float(signal.worse[0]) for each, signal in signals.items()}
    return stakes[name] >= max(stakes.values()) + math.log(_BLAMED)


def _missing(nats: float, gain: float) -> int:
    if nats <= 0.0:
        return 1
    return min(FAR_AWAY, math.ceil(nats / gain)) if gain > 0.0 else FAR_AWAY


def incident_words(interval: Interval) -> str:
    """What both revisions did in an interval in which both are in trouble."""
    canary, stable = (_trouble_of(counts) if counts else "nothing" for counts in (interval.canary, interval.stable))
    return f"both versions are in trouble at once (in this interval: canary {canary}; stable {stable})"


def _trouble_of(counts: RequestCounts) -> str:
    """Of an interval's requests, how many failed and how long the middle one took."""
    words = f"5xx {share_of(counts.server_errors, counts.total, 'requests')}"
    bounds = sorted(bound for bound in counts.at_most if bound < math.inf)
    if not counts.timed or not bounds:
        return words
    half = [bound for bound in bounds if 2 * counts.at_most[bound] >= counts.timed]
    return f"{words}, half of them {f'within {milliseconds(half[0])}' if half else f'over {milliseconds(bounds[-1])}'}"
