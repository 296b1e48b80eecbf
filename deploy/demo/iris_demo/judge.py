"""Judges a release by the observations and samples recorded while it was under way. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iris_demo import counts
from iris_demo.counts import Totals
from iris_demo.observations import Observation, Release, ReleaseObserved, RouteObserved
from iris_demo.samples import Sample

PROMOTED = "Promoted"
ROLLED_BACK = "RolledBack"
UNDECIDED = "Undecided"

# A rollback may start one interval after the verdict, and its effect may become visible this much later.
ROLLBACK_GRACE_SECONDS = 2.0


@dataclass(frozen=True)
class Expectation:
    """The expected outcome of a release.

    ``cause`` is what the reason must begin with, so that a release that is rolled back for the wrong cause does not
    count as a success. With ``incident``, both versions are disturbed while the canary has traffic.
    """

    version: str
    title: str
    outcome: str
    cause: str = ""
    incident: bool = False


@dataclass(frozen=True)
class WeightStep:
    """How long the new version had this share of the traffic: percent, and seconds."""

    weight: int
    seconds: float


@dataclass(frozen=True)
class RollbackDelays:
    """Seconds from the first sign of a bad canary, as client and operator saw it, to weight 0.

    None where there was no such sign, and for a canary that never had any traffic.

    ``from_failed_answer`` and ``from_slow_answer`` start at the canary's first such response to the client,
    ``from_fail_verdict`` at the first status that rejects it: a check with the verdict Fail, or the rollback
    itself where the state of the pods caused it before any check.
    """

    from_failed_answer: float | None = None
    from_slow_answer: float | None = None
    from_fail_verdict: float | None = None


@dataclass(frozen=True)
class ReleaseReport:
    """One release, from the moment it was applied to the moment its outcome was known."""

    expected: Expectation
    outcome: str
    reason: str
    seconds: float
    steps: tuple[WeightStep, ...]
    rollback_delays: RollbackDelays
    requests: Totals
    unexplained: int
    problems: tuple[str, ...]

    @property
    def as_expected(self) -> bool:
        """Whether the release went as expected in every respect."""
        return not self.problems


def outcome_of(release: Release, version: str) -> str:
    """``Promoted``, ``RolledBack`` or ``Undecided`` for the version that the spec asks for."""
    if release.spec_version != version or not release.is_current:
        return UNDECIDED
    if release.promoted == "True" and release.stable == version and release.phase == "Stable":
        return PROMOTED
    # A version whose pods are kept after its failure is paused for good.
    if release.phase == "RolledBack" or (release.stalled and release.promoted_reason in {"RolledBack", "Paused"}):
        return ROLLED_BACK
    return UNDECIDED


def reason_of(release: Release, version: str) -> str:
    """The reason as the resource has it: of the version's newest history entry, else of the condition."""
    for entry in release.history:
        if entry.version == version and entry.reason:
            return entry.reason
    return release.promoted_message or release.promoted_reason


def report(
    expected: Expectation,
    observations: Sequence[Observation],
    samples: Sequence[Sample],
    applied: float,
    settled: float,
    interval: float,
) -> ReleaseReport:
    """Judge a release by what was observed between ``applied`` and ``settled``, Unix times in seconds.

    ``samples`` are those that were due in that time, ``interval`` is the operator's, in seconds.
    """
    window = [entry for entry in observations if applied <= entry.at <= settled]
    final = next((entry.release for entry in reversed(window) if isinstance(entry, ReleaseObserved)), Release())
    outcome = outcome_of(final, expected.version)
    reason = reason_of(final, expected.version)
    bad = expected.version if expected.outcome == ROLLED_BACK else None
    unexplained = len(counts.unexplained_failures(samples, bad))
    delays = _rollback_delays(expected, window, samples)
    problems = _problems(expected, outcome, reason, unexplained, delays, interval) + _blamed_for_incident(
        expected, window
    )
    return ReleaseReport(
        expected=expected,
        outcome=outcome,
        reason=reason,
        seconds=settled - applied,
        steps=steps(window, applied, settled),
        rollback_delays=delays,
        requests=counts.totals(samples),
        unexplained=unexplained,
        problems=problems,
    )


def steps(observations: Sequence[Observation], start: float, end: float) -> tuple[WeightStep, ...]:
    """The new version's shares in order, each with its seconds; the time before the first shift is at share 0.

    They are the status's: the route's own weight is that of the canary and of the control group beside it.
    """
    changes = [(start, 0)]
    for entry in observations:
        if isinstance(entry, ReleaseObserved) and entry.release.weight != changes[-1][1]:
            changes.append((entry.at, entry.release.weight))
    ends = [at for at, _ in changes[1:]] + [end]
    return tuple(WeightStep(weight, until - at) for (at, weight), until in zip(changes, ends, strict=True))


def _rollback_delays(
    expected: Expectation, observations: Sequence[Observation], samples: Sequence[Sample]
) -> RollbackDelays:
    if expected.outcome != ROLLED_BACK:
        return RollbackDelays()
    current = [entry for entry in observations if isinstance(entry, ReleaseObserved) and entry.release.is_current]
    failed_verdict = next((entry.at for entry in current if entry.release.judged_bad), None)
    zero_at = _final_weight_zero(observations)
    if zero_at is None:
        return RollbackDelays()
    others = [sample for sample in samples if sample.version != expected.version]
    p99 = counts.latency_quantile(others, 0.99)
    slow = counts.first_slow_answer(samples, expected.version, p99) if p99 is not None else None
    return RollbackDelays(
        from_failed_answer=_until(counts.first_failed_answer(samples, expected.version), zero_at),
        from_slow_answer=_until(slow, zero_at),
        from_fail_verdict=_until(failed_verdict, zero_at),
    )


def _final_weight_zero(observations: Sequence[Observation]) -> float | None:
    """When the weight became 0 for the last time; None when it is not 0 at the end."""
    routes = [entry for entry in observations if isinstance(entry, RouteObserved)]
    zero_at, weight = None, 0
    for entry in routes:
        if entry.weight == 0 and weight > 0:
            zero_at = entry.at
        weight = entry.weight
    return zero_at if weight == 0 else None


def _until(start: float | None, end: float) -> float | None:
    # The status and the route arrive on two watches, so their order within milliseconds is arbitrary.
    return None if start is None else max(0.0, end - start)


def _blamed_for_incident(expected: Expectation, observations: Sequence[Observation]) -> tuple[str, ...]:
    """A problem when a version was rejected for an incident of both versions; it should be held instead."""
    releases = [
        entry.release for entry in observations if isinstance(entry, ReleaseObserved) and entry.release.is_current
    ]
    against = next((each for each in releases if each.canary == expected.version and each.judged_bad), None)
    if not expected.incident or against is None:
        return ()
    findings = "; ".join(f"{check.name}: {check.reason}" for check in against.failing) or against.phase
    return (f"an incident of both versions was blamed on it: {findings}",)


def _problems(
    expected: Expectation, outcome: str, reason: str, unexplained: int, delays: RollbackDelays, interval: float
) -> tuple[str, ...]:
    problems = []
    if outcome != expected.outcome:
        problems.append(f"ended {outcome}, expected {expected.outcome}")
    elif not reason.startswith(expected.cause):
        problems.append(f"the reason is {reason!r}, expected {expected.cause}")
    if unexplained:
        problems.append(f"{unexplained} requests failed that no bad canary answered")
    limit = interval + ROLLBACK_GRACE_SECONDS
    delay = delays.from_fail_verdict
    if delay is not None and delay > limit:
        problems.append(f"weight 0 came {delay:.1f} s after the first Fail, later than {limit:.0f} s")
    return tuple(problems)
