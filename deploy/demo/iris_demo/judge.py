"""What a release came to, measured from the observations and samples of its time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iris_demo import counts
from iris_demo.counts import Totals
from iris_demo.observations import Observation, Release, ReleaseSeen, RouteSeen
from iris_demo.samples import Sample

PROMOTED = "Promoted"
ROLLED_BACK = "RolledBack"
UNDECIDED = "Undecided"

# A rollback may take one interval to be acted on and this long to be seen to have taken effect.
ROLLBACK_GRACE_SECONDS = 2.0


@dataclass(frozen=True)
class Expectation:
    """What a release of the demo is made to end as.

    ``cause`` is the word that the reason must begin with, so that a release that is taken back for
    the wrong cause does not count as a success. With ``incident``, both versions get into trouble while it has traffic.
    """

    version: str
    title: str
    outcome: str
    cause: str = ""
    incident: bool = False


@dataclass(frozen=True)
class Step:
    """How long the canary had this share of the traffic: percent, and seconds."""

    weight: int
    seconds: float


@dataclass(frozen=True)
class Evidence:
    """Seconds from the first bad sign, as each side had it, to weight 0.

    None where there was no such sign, and for a canary that never had any traffic to lose.

    ``from_failed_answer`` and ``from_slow_answer`` start at what the client saw of the canary,
    ``from_fail_verdict`` at the first status that spoke against it: a check that says Fail, or the rollback
    itself where the pods gave it away before any check could.
    """

    from_failed_answer: float | None = None
    from_slow_answer: float | None = None
    from_fail_verdict: float | None = None


@dataclass(frozen=True)
class Report:
    """One release, from the moment it was applied to the moment its outcome was known."""

    expected: Expectation
    outcome: str
    reason: str
    seconds: float
    steps: tuple[Step, ...]
    evidence: Evidence
    requests: Totals
    unexplained: int
    problems: tuple[str, ...]

    @property
    def as_expected(self) -> bool:
        """Whether nothing about the release was a surprise."""
        return not self.problems


def outcome_of(release: Release, version: str) -> str:
    """``Promoted``, ``RolledBack`` or ``Undecided`` for the version that the spec asks for."""
    if release.wanted != version or not release.current:
        return UNDECIDED
    if release.promoted == "True" and release.stable == version and release.phase == "Stable":
        return PROMOTED
    if release.phase == "RolledBack":
        return ROLLED_BACK
    return UNDECIDED


def reason_of(release: Release, version: str) -> str:
    """Why, in the words of the resource: the history's newest entry of the version, else the condition."""
    for past in release.history:
        if past.version == version and past.reason:
            return past.reason
    return release.promoted_message or release.promoted_reason


def report(
    expected: Expectation,
    observations: Sequence[Observation],
    samples: Sequence[Sample],
    applied: float,
    settled: float,
    interval: float,
) -> Report:
    """Judge a release from what was seen between ``applied`` and ``settled``, Unix times in seconds.

    ``samples`` are those that were due in that time, ``interval`` is the operator's, in seconds.
    """
    seen = [entry for entry in observations if applied <= entry.at <= settled]
    final = next((entry.release for entry in reversed(seen) if isinstance(entry, ReleaseSeen)), Release())
    outcome = outcome_of(final, expected.version)
    reason = reason_of(final, expected.version)
    bad = expected.version if expected.outcome == ROLLED_BACK else None
    unexplained = len(counts.unexplained_failures(samples, bad))
    evidence = _evidence(expected, seen, samples)
    problems = _problems(expected, outcome, reason, unexplained, evidence, interval) + _blame(expected, seen)
    return Report(
        expected=expected,
        outcome=outcome,
        reason=reason,
        seconds=settled - applied,
        steps=steps(seen, applied, settled),
        evidence=evidence,
        requests=counts.totals(samples),
        unexplained=unexplained,
        problems=problems,
    )


def steps(seen: Sequence[Observation], start: float, end: float) -> tuple[Step, ...]:
    """The weights in their order, each with its seconds; the time before the first shift is at 0."""
    changes = [(start, 0)]
    for entry in seen:
        if isinstance(entry, RouteSeen) and entry.weight != changes[-1][1]:
            changes.append((entry.at, entry.weight))
    ends = [at for at, _ in changes[1:]] + [end]
    return tuple(Step(weight, until - at) for (at, weight), until in zip(changes, ends, strict=True))


def _evidence(expected: Expectation, seen: Sequence[Observation], samples: Sequence[Sample]) -> Evidence:
    if expected.outcome != ROLLED_BACK:
        return Evidence()
    told = [entry for entry in seen if isinstance(entry, ReleaseSeen) and entry.release.current]
    failed_verdict = next((entry.at for entry in told if entry.release.judged_bad), None)
    away = _weight_zero(seen)
    if away is None:
        return Evidence()
    others = [sample for sample in samples if sample.version != expected.version]
    usual = counts.latency_quantile(others, 0.99)
    slow = counts.first_slow(samples, expected.version, usual) if usual is not None else None
    return Evidence(
        from_failed_answer=_until(counts.first_failed(samples, expected.version), away),
        from_slow_answer=_until(slow, away),
        from_fail_verdict=_until(failed_verdict, away),
    )


def _weight_zero(seen: Sequence[Observation]) -> float | None:
    """When the canary's traffic was taken away for good."""
    routes = [entry for entry in seen if isinstance(entry, RouteSeen)]
    away, weight = None, 0
    for entry in routes:
        if entry.weight == 0 and weight > 0:
            away = entry.at
        weight = entry.weight
    return away if weight == 0 else None


def _until(start: float | None, end: float) -> float | None:
    # The status and the route arrive on two watches: their order within milliseconds means nothing.
    return None if start is None else max(0.0, end - start)


def _blame(expected: Expectation, seen: Sequence[Observation]) -> tuple[str, ...]:
    """What was said against a version that shared an incident: it is to wait, and not to be blamed."""
    told = [entry.release for entry in seen if isinstance(entry, ReleaseSeen) and entry.release.current]
    against = next((each for each in told if each.canary == expected.version and each.judged_bad), None)
    if not expected.incident or against is None:
        return ()
    words = "; ".join(f"{check.name}: {check.reason}" for check in against.failing) or against.phase
    return (f"an incident of both versions was blamed on it: {words}",)


def _problems(
    expected: Expectation, outcome: str, reason: str, unexplained: int, evidence: Evidence, interval: float
) -> tuple[str, ...]:
    problems = []
    if outcome != expected.outcome:
        problems.append(f"ended {outcome}, expected {expected.outcome}")
    elif not reason.startswith(expected.cause):
        problems.append(f"the reason is {reason!r}, expected {expected.cause}")
    if unexplained:
        problems.append(f"{unexplained} requests failed that no bad canary answered")
    limit = interval + ROLLBACK_GRACE_SECONDS
    taken = evidence.from_fail_verdict
    if taken is not None and taken > limit:
        problems.append(f"weight 0 came {taken:.1f} s after the first Fail, later than {limit:.0f} s")
    return tuple(problems)
