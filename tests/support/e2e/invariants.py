"""What must hold at every moment of a release, checked on the recorded history of its objects. Pure.

I1: the weights of the two routes total 100. I2: a weight above 0 leads to ready endpoints, unless
nobody is ready anywhere. I3: no step begins without a fresh Pass. I4: the canary never gets more than its step's
weight: behind its Service are the pods of the control group, too, each of which gets as much as one of the canary's.

All objects live in one etcd, so their resource versions are moments of one clock: sorted by them, the
history is the order in which things were stored, whatever the delays of the watches.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from iris_demo.observations import CANARY, canary_weight

CANARY_WEIGHT_TOTAL = "nginx.ingress.kubernetes.io/canary-weight-total"
SERVICE_OF_SLICE = "kubernetes.io/service-name"
FULL = 100
ARM_LABEL = "iris.mlrelease.dev/arm"
CONTROL = "control"
# Shares are rounded to whole percent, and a route gets at least one.
ROUNDING = 1.0


@dataclass(frozen=True)
class Entry:
    """One stored state of one object; ``object`` is None from its deletion on.

    ``at`` is the Unix time in seconds at which the watch reported it.
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
        return len(self._ready_pods(backend))

    def share(self) -> float:
        """The canary's share of the requests in percent, by the route and the ready endpoints of both arms."""
        pods = self._ready_pods("canary")
        control = sum(ARM_LABEL in self._labels_of_pod(pod) for pod in pods)
        return self.weight() * (len(pods) - control) / len(pods) if pods else 0.0

    def step_weight(self) -> int:
        """What the canary may get in percent: the weight of the step that the status says has begun.

        100 where no step limits it: while nothing is compared, at the last step and while it is promoted.
        """
        resource = self.objects.get(("irismodelreleases", self.release), {})
        status = resource.get("status") or {}
        index = (status.get("step") or {}).get("index") or 0
        steps = resource.get("spec", {}).get("rollout", {}).get("steps") or ()
        progressing = (status.get("rollout") or {}).get("stage") == "Progressing"
        return int(steps[index - 1].get("weight") or 0) if progressing and 0 < index <= len(steps) else FULL

    def _ready_pods(self, backend: str) -> list[str]:
        return [
            (endpoint.get("targetRef") or {}).get("name", "")
            for (kind, _), slice_ in self.objects.items()
            if kind == "endpointslices"
            and slice_["metadata"].get("labels", {}).get(SERVICE_OF_SLICE) == f"{self.release}-{backend}"
            for endpoint in slice_.get("endpoints") or ()
            if endpoint.get("conditions", {}).get("ready") is not False
        ]

    def _labels_of_pod(self, name: str) -> dict[str, str]:
        labels: dict[str, str] = self.objects.get(("pods", name), {}).get("metadata", {}).get("labels", {})
        return labels

    def routed(self) -> bool:
        return ("ingresses", self.release) in self.objects


def violations(entries: Iterable[Entry], release: str, grace: float) -> list[str]:
    """Every breach in the history of ``release``, in words; empty when there was none.

    ``grace`` is how long, in seconds, the operator may take to answer when endpoints vanish by
    themselves. A breach that a write to the route or to a Service brings about has no grace. The
    history ends with the release: what is left after that is being collected.
    """
    world = _World(release)
    checks = (_Totals(world), _Endpoints(world, grace), _Selectors(world), _Passes(world), _Shares(world, grace))
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
    """I3. The first step begins with being ready: before it there are no requests to judge."""

    def __init__(self, world: _World) -> None:
        self._world = world
        self._step = ("", 0)
        # When the newest Pass was judged, and the one with which the current step began.
        self._passed_at = self._used = ""

    def see(self, entry: Entry, _: int) -> list[str]:
        if entry.kind != "irismodelreleases" or entry.object is None:
            return []
        status = entry.object.get("status") or {}
        analysis = status.get("analysis") or {}
        if analysis.get("verdict") == "Pass":
            self._passed_at = analysis.get("judgedAt") or self._passed_at
        canary = (status.get("canary") or {}).get("revision", "")
        before, self._step = self._step, (canary, (status.get("step") or {}).get("index") or 0)
        if self._step == before:
            return []
        fresh, self._used = self._passed_at != self._used, self._passed_at
        index = self._step[1]
        if before[0] == canary and 0 < before[1] < index and not fresh:
            return [f"I3: step {index} began without a Pass since step {before[1]} began"]
        return []


class _Shares:
    """I4. What the operator writes has to be right at once; what pods do by themselves it has a while to answer."""

    def __init__(self, world: _World, grace: float) -> None:
        self._world, self._grace = world, grace
        self._above_since: float | None = None

    def see(self, entry: Entry, before: int) -> list[str]:
        share, most = self._world.share(), self._world.step_weight()
        above = share > most + ROUNDING
        said = f"the canary has {share:.0f} % of the requests in a step of {most} %"
        since, self._above_since = self._above_since, None
        if not above:
            return []
        if entry.kind == "ingresses" and self._world.weight() > before:
            return [f"I4: {entry.name} was written so that {said}"]
        self._above_since = entry.at if since is None else since
        if entry.at - self._above_since > self._grace:
            lasted, self._above_since = entry.at - self._above_since, entry.at
            return [f"I4: for {lasted:.1f} s {said}"]
        return []
