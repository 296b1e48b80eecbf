"""What one rollout was like, from what was observed of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.aa.plan import Case
from iris_demo import counts, judge
from iris_demo.judge import WeightStep
from iris_demo.observations import Check, Observation, Release, ReleaseObserved, RouteObserved
from iris_demo.samples import Sample

# Beyond one of these the machine had no time for the rollout: what it shows is the machine.
LEAST_IDLE: Final = 0.10
MOST_STOLEN: Final = 0.10
LATEST_SECONDS: Final = 0.1


@dataclass(frozen=True)
class MachineLoad:
    """How busy the machine was: shares of all its cores, and the load generator's own lateness in seconds."""

    idle: float
    stolen: float
    late_p99: float

    @property
    def too_busy(self) -> str:
        """Why nothing can be concluded; empty when something can."""
        reasons = [
            f"only {self.idle:.0%} idle" if self.idle < LEAST_IDLE else "",
            f"{self.stolen:.0%} stolen" if self.stolen > MOST_STOLEN else "",
            f"requests sent up to {self.late_p99 * 1000:.0f} ms late" if self.late_p99 > LATEST_SECONDS else "",
        ]
        return ", ".join(reason for reason in reasons if reason)


@dataclass(frozen=True)
class CheckEnd:
    """What a check said at the end; the evidence as shares of what rolls back and of what lets a step begin."""

    name: str
    verdict: str
    reason: str
    requests: int
    worse: float | None
    good: float | None


@dataclass(frozen=True)
class FaultSeen:
    """What a canary did while it had traffic: seconds from its first answer until it had none, and its requests."""

    seconds: float | None
    requests: int
    failed: int


@dataclass(frozen=True)
class Record:
    """One rollout. Times in seconds; ``failed`` are the failed requests that clients saw, ``control_pods`` the most."""

    case: Case
    version: str
    outcome: str
    reason: str
    seconds: float
    requests: int
    failed: int
    shares: tuple[WeightStep, ...]
    said_beforehand: str
    said: tuple[str, ...]
    control_pods: int
    p50: float | None
    p99: float | None
    checks: tuple[CheckEnd, ...]
    canary: FaultSeen
    machine: MachineLoad
    repeated: Record | None = None

    @property
    def as_expected(self) -> bool:
        """Whether it ended as the case says, and for its cause."""
        return self.outcome == self.case.outcome and self.reason.startswith(self.case.cause)


def record_of(
    case: Case,
    version: str,
    observations: Sequence[Observation],
    samples: Sequence[Sample],
    window: tuple[float, float],
    machine: MachineLoad,
) -> Record:
    """Read a rollout from what was observed within ``window``, Unix times from its apply to its outcome."""
    start, end = window
    seen = [entry for entry in observations if start <= entry.at <= end]
    own = [
        entry.release
        for entry in seen
        if isinstance(entry, ReleaseObserved) and entry.release.is_current and entry.release.spec_version == version
    ]
    said = [release for release in own if release.resolution]
    requests = counts.between(samples, start, end)
    final = own[-1] if own else Release()
    return Record(
        case=case,
        version=version,
        outcome=judge.outcome_of(final, version),
        reason=judge.reason_of(final, version),
        seconds=end - start,
        requests=len(requests),
        failed=counts.totals(requests).failures,
        shares=judge.steps(seen, start, end),
        said_beforehand=next((release.resolution for release in said if release.weight == 0 and release.canary), ""),
        said=tuple(dict.fromkeys(release.resolution for release in said)),
        control_pods=max((release.control_pods for release in own), default=0),
        p50=counts.latency_quantile(requests, 0.5),
        p99=counts.latency_quantile(requests, 0.99),
        checks=_last_checks(own),
        canary=_canary(version, seen, requests, own),
        machine=machine,
    )


def _last_checks(releases: Sequence[Release]) -> tuple[CheckEnd, ...]:
    checks: tuple[Check, ...] = next((release.checks for release in reversed(releases) if release.checks), ())
    return tuple(
        CheckEnd(check.name, check.verdict, check.reason, check.requests, check.evidence_share, check.good_share)
        for check in checks
    )


def _canary(
    version: str, seen: Sequence[Observation], samples: Sequence[Sample], releases: Sequence[Release]
) -> FaultSeen:
    answers = counts.answered_by(samples, version)
    routes = [entry for entry in seen if isinstance(entry, RouteObserved)]
    # An identical version answers under the name of the model that it shares with stable.
    first = min((sample.scheduled for sample in answers), default=None)
    if first is None:
        first = next((entry.at for entry in routes if entry.weight > 0), None)
    away = routes[-1].at if routes and routes[-1].weight == 0 else None
    judged = max((check.requests for release in releases for check in release.checks), default=0)
    return FaultSeen(
        seconds=max(0.0, away - first) if away is not None and first is not None else None,
        requests=len(answers) or judged,
        failed=sum(not sample.ok for sample in answers),
    )
