"""The input of `decide`: the release, its objects in the cluster, and the newest judgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from iris_operator.analysis.judge import Judgement
from iris_operator.api.spec import ReleaseSpec
from iris_operator.api.status import ReleaseStatus, RevisionRef


@dataclass(frozen=True)
class Annotation:
    """What a person wrote on the release; by which field manager and when, as far as the managed fields say so."""

    value: str
    manager: str = ""
    written_at: datetime | None = None


@dataclass(frozen=True)
class Workload:
    """One revision's Deployment and the pods behind it."""

    ref: RevisionRef
    role: str
    replicas: int
    ready: int = 0
    """Ready pods of the Deployment's newest template."""
    intact: bool = True
    """Does it still match what was applied? False after an edit by somebody else."""
    crash_message: str = ""
    """Why a container terminated, for people; empty when none did."""
    waiting_reason: str = ""
    """Why its pods are not ready, for people."""
    probe_failure: str = ""
    """Which pod's running container fails its readiness probe, for people; empty when none does."""
    retired_at: datetime | None = None
    replicas_owned: bool = True
    """Does the operator's field manager own `spec.replicas`?"""
    owned: bool = True
    """Does it name this release as its controller? Not yet when it was made for one that was deleted."""
    inputs_known: bool = True
    """Can it be applied? False when the inputs that are stored on it were edited: it is left as it is."""


@dataclass(frozen=True)
class Autoscaler:
    """The release's HorizontalPodAutoscaler."""

    revision: str
    """Whose pods it scales."""
    scale_down_allowed: bool = True
    intact: bool = True


@dataclass(frozen=True)
class DisruptionBudget:
    """The disruption budget of one revision."""

    min_available: int | None
    """Pods that evictions must leave; None is all but one."""
    intact: bool = True


@dataclass(frozen=True)
class ShadowConfig:
    """The ConfigMap that tells stable's pods which requests to mirror."""

    revision: str | None
    """The revision that requests are mirrored to; None: none."""
    share: int = 0
    """The share of the requests, in percent."""
    control: str = ""
    """The revision of the control group that gets the same requests; empty: none."""
    intact: bool = True
    """The ConfigMap, and with a control group its Service."""


@dataclass(frozen=True)
class Backend:
    """A Service and the endpoints behind it."""

    selects: str | None
    """Revision in its selector; None when there is no Service."""
    intact: bool = True
    ready: Mapping[str, int] = field(default_factory=dict)
    """Ready endpoints by the pods' revision label; while a changed selector takes effect the old ones are still
    listed."""
    with_control: bool = False
    """Does it select by the label `backend`, and so both arms of a comparison?"""

    def serves(self, revision: str) -> int:
        """Ready endpoints of a revision; 0 while the selector names another one."""
        return self.ready.get(revision, 0) if self.selects == revision else 0

    def serves_only(self, revision: str) -> bool:
        """Has the change of the selector reached the endpoints?"""
        return self.serves(revision) > 0 and set(self.ready) <= {revision}


@dataclass(frozen=True)
class Route:
    """The traffic split as the router's objects have it."""

    exists: bool
    weight: int = 0
    """Share of the canary in percent; 0 without a canary route."""
    intact: bool = True


@dataclass(frozen=True)
class AnalysisResult:
    """A judgement or a baseline, the moment up to which requests are now counted, and their rate per second."""

    judgement: Judgement
    judged_through: datetime | None
    requests_per_second: float | None = None


@dataclass(frozen=True)
class Observation:
    """Everything that a decision depends on."""

    spec: ReleaseSpec
    status: ReleaseStatus
    generation: int
    target: RevisionRef
    """The revision of the present spec."""
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    control_groups: Mapping[str, Workload] = field(default_factory=dict)
    """By their revision label: this rollout's, and what earlier ones left behind."""
    stable: Backend = field(default_factory=lambda: Backend(selects=None))
    canary: Backend = field(default_factory=lambda: Backend(selects=None))
    route: Route = field(default_factory=lambda: Route(exists=False))
    autoscaler: Autoscaler | None = None
    disruption_budgets: Mapping[str, DisruptionBudget] = field(default_factory=dict)
    """By revision."""
    shadow_config: ShadowConfig | None = None
    """None when there is no such ConfigMap, and never was one."""
    judgement: Judgement | None = None
    """A judgement made in this reconcile; None when none was due."""
    baseline: Judgement | None = None
    """Stable's baseline measured in this reconcile, while the canary has no share yet."""
    watch_judgement: Judgement | None = None
    """Of the promoted version, against what the one before was like; made in this reconcile."""
    judged_through: datetime | None = None
    """Up to when the requests of that judgement or baseline are counted."""
    requests_per_second: float | None = None
    """Of both versions together, in that interval; None when it was not counted."""
    deleting: bool = False
    annotations: Mapping[str, Annotation] = field(default_factory=dict)
    """Those of `names.ANNOTATIONS_OF_PEOPLE` that are set, by name."""
    unreadable: tuple[str, ...] = ()
    """What of the stored status cannot be read and is needed, as sentences for people. The release waits."""
    ignored: tuple[str, ...] = ()
    """What of the stored status cannot be read and is not needed."""
