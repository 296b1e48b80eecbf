"""What was seen of a release at one moment, read out of the API's objects. Pure.

Fields that are missing read as empty: the demo watches resources from their first second on, when
the operator has not written anything yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CANARY = "nginx.ingress.kubernetes.io/canary"
CANARY_WEIGHT = "nginx.ingress.kubernetes.io/canary-weight"


@dataclass(frozen=True)
class Check:
    """One check of the analysis; ``worse`` is the evidence that the canary is, as a share of what rolls back."""

    name: str
    verdict: str
    reason: str
    requests: int
    worse: float | None = None


@dataclass(frozen=True)
class Past:
    """One entry of the release's history, which lists the newest first."""

    version: str
    outcome: str
    reason: str


@dataclass(frozen=True)
class Release:
    """The resource's status beside what its spec asks for; ``weight`` in percent."""

    wanted: str = ""
    generation: int = 0
    observed: int = 0
    phase: str = ""
    weight: int = 0
    step: int = 0
    steps: int = 0
    stable: str = ""
    canary: str = ""
    promoted: str = ""
    promoted_reason: str = ""
    promoted_message: str = ""
    verdict: str = ""
    checks: tuple[Check, ...] = ()
    history: tuple[Past, ...] = ()

    @property
    def current(self) -> bool:
        """Whether the status is about this spec; just after an apply it still tells of the one before."""
        return 0 < self.generation <= self.observed

    @property
    def failing(self) -> tuple[Check, ...]:
        """The checks that speak against the canary."""
        return tuple(check for check in self.checks if check.verdict == "Fail")

    @property
    def judged_bad(self) -> bool:
        """Whether the operator has said that the canary is bad: by a check, or by taking it back."""
        return self.verdict == "Fail" or bool(self.failing) or self.phase == "RollingBack"


@dataclass(frozen=True)
class ReleaseSeen:
    """The release as it was at ``at``, Unix time in seconds on this machine's clock."""

    at: float
    release: Release


@dataclass(frozen=True)
class RouteSeen:
    """The canary's share of the traffic in percent, as the Ingress says it."""

    at: float
    weight: int


@dataclass(frozen=True)
class EventSeen:
    """A Kubernetes event about the release."""

    at: float
    type: str
    reason: str
    message: str


Observation = ReleaseSeen | RouteSeen | EventSeen


def release_of(resource: Mapping[str, Any]) -> Release:
    """Read an IrisModelRelease."""
    spec, status = resource.get("spec", {}), resource.get("status") or {}
    conditions: list[dict[str, Any]] = status.get("conditions") or []
    promoted: dict[str, Any] = next((c for c in conditions if c.get("type") == "Promoted"), {})
    analysis = status.get("analysis") or {}
    step = status.get("step") or {}
    return Release(
        wanted=spec.get("model", {}).get("version", ""),
        generation=resource.get("metadata", {}).get("generation", 0),
        observed=status.get("observedGeneration") or 0,
        phase=status.get("phase") or "",
        weight=status.get("weight") or 0,
        step=step.get("index") or 0,
        steps=step.get("count") or 0,
        stable=(status.get("stable") or {}).get("version", ""),
        canary=(status.get("canary") or {}).get("version", ""),
        promoted=promoted.get("status", ""),
        promoted_reason=promoted.get("reason", ""),
        promoted_message=promoted.get("message", ""),
        verdict=analysis.get("verdict") or "",
        checks=tuple(_check(check) for check in analysis.get("checks") or ()),
        history=tuple(_past(entry) for entry in status.get("history") or ()),
    )


def _check(check: Mapping[str, Any]) -> Check:
    evidence = check.get("evidence") or {}
    needed = evidence.get("rollbackAt")
    return Check(
        name=check.get("name", ""),
        verdict=check.get("verdict", ""),
        reason=check.get("reason") or "",
        requests=int(check.get("requests") or 0),
        worse=float(evidence.get("worse") or 0.0) / needed if needed else None,
    )


def _past(entry: Mapping[str, Any]) -> Past:
    return Past(entry.get("version", ""), entry.get("outcome") or "", entry.get("reason") or "")


def canary_weight(ingress: Mapping[str, Any] | None) -> int:
    """The percentage that the canary Ingress takes; 0 when there is none or it is switched off."""
    annotations = ((ingress or {}).get("metadata") or {}).get("annotations") or {}
    if annotations.get(CANARY) != "true":
        return 0
    return int(annotations.get(CANARY_WEIGHT, "0"))


def last_seen(event: Mapping[str, Any]) -> str:
    """When an event happened last, as the API writes times; empty when it does not say."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return max((time for time in times if time), default="")
