"""What `decide` is told: the release, its objects in the cluster, and the newest judgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from iris_operator.analysis.judge import Judgement
from iris_operator.api.spec import ReleaseSpec
from iris_operator.api.status import ReleaseStatus, RevisionRef


@dataclass(frozen=True)
class Workload:
    """One revision's Deployment and the pods behind it."""

    ref: RevisionRef
    role: str
    replicas: int
    ready: int = 0
    """Ready pods of the Deployment's newest template."""
    intact: bool = True
    """Does it still say what we applied? False after an edit by somebody else."""
    crash: str = ""
    """Why a container of it died, in words; empty when none did."""
    waiting: str = ""
    """Why its pods are not ready, in words."""
    retired_at: datetime | None = None
    scaled_by_us: bool = True
    """Is the number of its pods the operator's field, or did it let go of it?"""


@dataclass(frozen=True)
class Autoscaler:
    """The release's HorizontalPodAutoscaler."""

    revision: str
    """Whose pods it scales."""
    shrinks: bool = True
    intact: bool = True


@dataclass(frozen=True)
class Budget:
    """The disruption budget of one revision."""

    at_least: int | None
    """Pods that a drain must leave; None is all but one."""
    intact: bool = True


@dataclass(frozen=True)
class Shadowing:
    """What the plan of the copies says."""

    revision: str | None
    """Who gets copies; None: nobody."""
    share: int = 0
    """Of how many requests, in percent."""
    intact: bool = True


@dataclass(frozen=True)
class Backend:
    """A Service and the endpoints behind it."""

    selects: str | None
    """Revision in its selector; None when there is no Service."""
    intact: bool = True
    ready: Mapping[str, int] = field(default_factory=dict)
    """Ready endpoints by revision; during a change of the selector the old ones are still listed."""

    def serves(self, revision: str) -> int:
        """Ready endpoints of a revision; 0 while the selector names another one."""
        return self.ready.get(revision, 0) if self.selects == revision else 0

    def serves_only(self, revision: str) -> bool:
        """Has the change of the selector reached the endpoints?"""
        return self.serves(revision) > 0 and set(self.ready) <= {revision}


@dataclass(frozen=True)
class Route:
    """The traffic split as it stands in the router's objects."""

    exists: bool
    weight: int = 0
    """Share of the canary in percent; 0 without a canary route."""
    intact: bool = True


@dataclass(frozen=True)
class Judged:
    """A judgement or a lesson, the moment up to which requests are now counted, and how many a second there were."""

    judgement: Judgement
    through: datetime | None
    requests_per_second: float | None = None


@dataclass(frozen=True)
class Observation:
    """Everything that a decision rests on."""

    spec: ReleaseSpec
    status: ReleaseStatus
    generation: int
    target: RevisionRef
    """The revision that the spec asks for."""
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    stable: Backend = field(default_factory=lambda: Backend(selects=None))
    canary: Backend = field(default_factory=lambda: Backend(selects=None))
    route: Route = field(default_factory=lambda: Route(exists=False))
    autoscaler: Autoscaler | None = None
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    """By revision."""
    shadowing: Shadowing | None = None
    """None when there is no plan, and never was one."""
    judgement: Judgement | None = None
    """A judgement made in this very pass; None when it was not time for one."""
    lesson: Judgement | None = None
    """What stable alone has taught in this very pass, while the canary has no share yet."""
    judged_through: datetime | None = None
    """Up to when the requests of that judgement or lesson are counted."""
    requests_per_second: float | None = None
    """Of both versions together, in that interval; None when it was not counted."""
    deleting: bool = False
    approved: str | None = None
    """Value of the annotation `approved`: `<revision>/<step>`."""
    retry: str | None = None
    """Value of the annotation `retry`."""
