"""The observed state of a release at one moment, parsed from the API's objects. Pure.

Missing fields are read as empty: the demo watches resources from their creation on, before the
operator has written anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CANARY = "nginx.ingress.kubernetes.io/canary"
CANARY_WEIGHT = "nginx.ingress.kubernetes.io/canary-weight"


@dataclass(frozen=True)
class Check:
    """One check of the analysis.

    ``evidence_share`` is the evidence that the canary is worse, as a share of what causes a rollback, ``good_share``
    that it is good enough, as a share of what lets the next step begin.
    """

    name: str
    verdict: str
    reason: str
    requests: int
    evidence_share: float | None = None
    good_share: float | None = None


@dataclass(frozen=True)
class HistoryEntry:
    """One entry of the release's history, which lists the newest first."""

    version: str
    outcome: str
    reason: str


@dataclass(frozen=True)
class Release:
    """The resource's status beside what its spec asks for.

    ``weight`` is the new version's share of the requests in percent, ``control_pods`` the size of the control group,
    ``resolution`` what the operator says about which differences cannot be seen with these pods.
    """

    spec_version: str = ""
    generation: int = 0
    observed_generation: int = 0
    phase: str = ""
    weight: int = 0
    step: int = 0
    steps: int = 0
    stable: str = ""
    canary: str = ""
    promoted: str = ""
    promoted_reason: str = ""
    promoted_message: str = ""
    stalled: str = ""
    """Why the release cannot go on without a person; empty while it can."""
    verdict: str = ""
    checks: tuple[Check, ...] = ()
    control_pods: int = 0
    resolution: str = ""
    history: tuple[HistoryEntry, ...] = ()

    @property
    def is_current(self) -> bool:
        """Whether the status is about this spec; just after an apply it is still about the previous one."""
        return 0 < self.generation <= self.observed_generation

    @property
    def failing(self) -> tuple[Check, ...]:
        """The checks that fail the canary."""
        return tuple(check for check in self.checks if check.verdict == "Fail")

    @property
    def judged_bad(self) -> bool:
        """Whether the operator has rejected the canary: by a check, or by rolling it back."""
        return self.verdict == "Fail" or bool(self.failing) or self.phase == "RollingBack"


@dataclass(frozen=True)
class ReleaseObserved:
    """The release as it was at ``at``, Unix time in seconds on this machine's clock."""

    at: float
    release: Release


@dataclass(frozen=True)
class RouteObserved:
    """The share of the traffic behind the canary's Service in percent, as the Ingress has it.

    The pods of a control group are behind that Service, too.
    """

    at: float
    weight: int


@dataclass(frozen=True)
class EventObserved:
    """A Kubernetes event about the release."""

    at: float
    type: str
    reason: str
    message: str


Observation = ReleaseObserved | RouteObserved | EventObserved


def release_of(resource: Mapping[str, Any]) -> Release:
    """Parse an IrisModelRelease."""
    spec, status = resource.get("spec", {}), resource.get("status") or {}
    conditions: list[dict[str, Any]] = status.get("conditions") or []
    promoted: dict[str, Any] = next((c for c in conditions if c.get("type") == "Promoted"), {})
    stalled: dict[str, Any] = next((c for c in conditions if c.get("type") == "Stalled"), {})
    analysis = status.get("analysis") or {}
    step = status.get("step") or {}
    return Release(
        spec_version=spec.get("model", {}).get("version", ""),
        generation=resource.get("metadata", {}).get("generation", 0),
        observed_generation=status.get("observedGeneration") or 0,
        phase=status.get("phase") or "",
        weight=status.get("weight") or 0,
        step=step.get("index") or 0,
        steps=step.get("count") or 0,
        stable=(status.get("stable") or {}).get("version", ""),
        canary=(status.get("canary") or {}).get("version", ""),
        promoted=promoted.get("status", ""),
        promoted_reason=promoted.get("reason", ""),
        promoted_message=promoted.get("message", ""),
        stalled=f"{stalled.get('reason', '')}: {stalled.get('message', '')}" if stalled.get("status") == "True" else "",
        verdict=analysis.get("verdict") or "",
        checks=tuple(_check(check) for check in analysis.get("checks") or ()),
        control_pods=(status.get("control") or {}).get("pods") or 0,
        resolution=analysis.get("resolution") or "",
        history=tuple(_history_entry(entry) for entry in status.get("history") or ()),
    )


def _check(check: Mapping[str, Any]) -> Check:
    evidence = check.get("evidence") or {}
    needed, enough = evidence.get("rollbackAt"), evidence.get("promoteAt")
    return Check(
        name=check.get("name", ""),
        verdict=check.get("verdict", ""),
        reason=check.get("reason") or "",
        requests=int(check.get("requests") or 0),
        evidence_share=float(evidence.get("worse") or 0.0) / needed if needed else None,
        good_share=float(evidence.get("good") or 0.0) / enough if enough else None,
    )


def _history_entry(entry: Mapping[str, Any]) -> HistoryEntry:
    return HistoryEntry(entry.get("version", ""), entry.get("outcome") or "", entry.get("reason") or "")


def canary_weight(ingress: Mapping[str, Any] | None) -> int:
    """The percentage that the canary Ingress gets; 0 when there is none or it is switched off."""
    annotations = ((ingress or {}).get("metadata") or {}).get("annotations") or {}
    if annotations.get(CANARY) != "true":
        return 0
    return int(annotations.get(CANARY_WEIGHT, "0"))


def event_time(event: Mapping[str, Any]) -> str:
    """When an event happened last, in the API's time format; empty when it has no time."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return max((time for time in times if time), default="")
