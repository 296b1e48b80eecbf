"""What must hold at every moment of a release, checked on the recorded history of its objects. Pure.

I1: stable's and the canary's weights total 100. I2: a weight above 0 leads to ready endpoints, unless
nobody is ready anywhere. I3: the weight never rises without a fresh Pass.

All objects live in one etcd, so their resource versions are moments of one clock: sorted by them, the
history is the order in which things were stored, whatever the delays of the watches.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from iris_demo.observations import CANARY, canary_weight

CANARY_WEIGHT_TOTAL = "nginx.ingress.kubernetes.io/canary-weight-total"
SERVICE_OF_SLICE = "kubernetes.io/service-name"
FULL = 100
# Between the clock of this process, which dates the watches, and the operator's there is only the
# watches' own delay.
CLOCK_SLACK_SECONDS = 1.0


@dataclass(frozen=True)
class Entry:
    """One stored state of one object; ``object`` is None from its deletion on.

    ``at`` is the Unix time in seconds at which the watch told of it.
    """

    version: int
    at: float
    kind: str
    name: str
    object: dict[str, Any] | None


@dataclass
class _World:
    """The objects of one release as they stand at a moment of the replay."""

    release: str
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def weight(self) -> int:
        return canary_weight(self.objects.get(("ingresses", f"{self.release}-canary")))

    def selector(self, backend: str) -> dict[str, str] | None:
        service = self.objects.get(("services", f"{self.release}-{backend}"))
        return None if service is None else service["spec"].get("selector", {})

    def ready(self, backend: str) -> int:
        """Ready endpoints behind a Service."""
        return sum(
            endpoint.get("conditions", {}).get("ready") is not False
            for (kind, _), slice_ in self.objects.items()
            if kind == "endpointslices"
            and slice_["metadata"].get("labels", {}).get(SERVICE_OF_SLICE) == f"{self.release}-{backend}"
            for endpoint in slice_.get("endpoints") or ()
        )

    def routed(self) -> bool:
        return ("ingresses", self.release) in self.objects


def violations(entries: Iterable[Entry], release: str, grace: float) -> list[str]:
    """Every breach in the history of ``release``, in words; empty when there was none.

    ``grace`` is how long, in seconds, the operator may take to answer when endpoints vanish by
    themselves. A breach that a write to the route or to a Service brings about has no grace. The
    history ends with the release: what is left after that is being collected.
    """
    world = _World(release)
    checks = (_Totals(world), _Endpoints(world, grace), _Selectors(world), _Passes(world))
    breaches: list[str] = []
    for entry in sorted(entries, key=lambda entry: entry.version):
        before = world.weight()
        if entry.object is None:
            world.objects.pop((entry.kind, entry.name), None)
        else:
            world.objects[entry.kind, entry.name] = entry.object
        if entry.kind == "irismodelreleases" and entry.object is None:
            break
        for check in checks:
            breaches += check.see(entry, before)
    return breaches


class _Totals:
    """I1."""

    def __init__(self, world: _World) -> None:
        self._world = world

    def see(self, entry: Entry, _: int) -> list[str]:
        if entry.kind != "ingresses" or entry.object is None:
            return []
        annotations = entry.object["metadata"].get("annotations", {})
        breaches = []
        if not 0 <= self._world.weight() <= FULL:
            breaches.append(f"I1: the canary's weight is {self._world.weight()}")
        if annotations.get(CANARY_WEIGHT_TOTAL, str(FULL)) != str(FULL):
            breaches.append(f"I1: the weights total {annotations[CANARY_WEIGHT_TOTAL]}")
        if annotations.get(CANARY) == "true" and not self._world.routed():
            breaches.append("I1: there is a canary route and no primary one")
        return breaches


class _Endpoints:
    """I2."""

    def __init__(self, world: _World, grace: float) -> None:
        self._world, self._grace = world, grace
        self._empty_since: float | None = None

    def see(self, entry: Entry, _: int) -> list[str]:
        empty = self._routed_to_nobody()
        breaches = []
        if self._empty_since is not None and entry.at - self._empty_since > self._grace:
            breaches.append(f"I2: traffic led to no ready endpoint for {entry.at - self._empty_since:.1f} s")
            self._empty_since = entry.at if empty else None
        if not empty:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = entry.at
            if entry.kind in {"ingresses", "services"}:
                breaches.append(f"I2: {entry.name} was written so that traffic led to no ready endpoint: {empty}")
        return breaches

    def _routed_to_nobody(self) -> str:
        if not self._world.routed():
            return ""
        weight, stable, canary = self._world.weight(), self._world.ready("stable"), self._world.ready("canary")
        if weight > 0 and canary == 0 and stable > 0:
            return f"weight {weight}, and no canary is ready"
        if weight < FULL and stable == 0 and canary > 0:
            return f"weight {weight}, and no stable is ready"
        return ""


class _Selectors:
    """A backend that takes traffic is never swapped for another one under it."""

    def __init__(self, world: _World) -> None:
        self._world = world
        self._selected: dict[str, dict[str, str] | None] = {}

    def see(self, entry: Entry, _: int) -> list[str]:
        if entry.kind != "services":
            return []
        weight = self._world.weight()
        breaches = []
        for backend, idle_at in (("canary", 0), ("stable", FULL)):
            now, before = self._world.selector(backend), self._selected.get(backend)
            if before is not None and now is not None and now != before and weight != idle_at and self._world.routed():
                breaches.append(f"I2: the {backend} Service changed from {before} to {now} at weight {weight}")
            self._selected[backend] = now
        return breaches


class _Passes:
    """I3. The first share is given for being ready: before it there are no requests to judge."""

    def __init__(self, world: _World) -> None:
        self._world = world
        self._passed_at = float("-inf")
        self._changed_at = float("-inf")

    def see(self, entry: Entry, before: int) -> list[str]:
        if entry.kind == "irismodelreleases" and entry.object is not None:
            analysis = entry.object.get("status", {}).get("analysis") or {}
            if analysis.get("verdict") == "Pass" and analysis.get("judgedAt"):
                self._passed_at = datetime.fromisoformat(analysis["judgedAt"]).timestamp()
        now = self._world.weight()
        if now == before:
            return []
        fresh = self._passed_at > self._changed_at - CLOCK_SLACK_SECONDS
        self._changed_at = entry.at
        if 0 < before < now and not fresh:
            return [f"I3: the weight rose from {before} to {now} without a Pass since it became {before}"]
        return []
