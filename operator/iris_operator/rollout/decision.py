"""The result of `decide`: the next status, the actions that bring it about, and when to reconcile again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from iris_operator.api.status import ReleaseStatus, RevisionRef


@dataclass(frozen=True)
class ApplyWorkload:
    """Apply the revision's Deployment; its pods are only replaced when their template differs."""

    ref: RevisionRef
    role: Literal["stable", "canary", "retired"]
    replicas: int | None
    """None leaves their number to the autoscaler."""
    retired_at: datetime | None = None


@dataclass(frozen=True)
class ApplyControlGroup:
    """Apply the Deployment of the control group: pods of stable's inputs, for the comparison with this canary."""

    stable: RevisionRef
    canary: RevisionRef
    replicas: int


@dataclass(frozen=True)
class DeleteWorkload:
    """Delete the Deployment of a revision that is beyond the history, or no longer of use, or of a control group."""

    revision: str


@dataclass(frozen=True)
class SelectRevision:
    """Make the stable or the canary Service select a revision."""

    backend: Literal["stable", "canary"]
    revision: str
    with_control: bool = False
    """Select the control group of this canary, too: by the label `backend` of both arms."""


@dataclass(frozen=True)
class SetWeight:
    """Route this share of the requests to the canary, in percent, and read it back. Creates a missing route."""

    weight: int


@dataclass(frozen=True)
class ApplyAutoscaler:
    """Apply the release's autoscaler: it scales this revision, up and, where allowed, down."""

    revision: str
    scale_down_allowed: bool


@dataclass(frozen=True)
class DeleteAutoscaler:
    """Delete the release's autoscaler."""


@dataclass(frozen=True)
class ApplyDisruptionBudget:
    """Apply the revision's disruption budget: evictions leave so many pods; None is all but one."""

    revision: str
    min_available: int | None


@dataclass(frozen=True)
class DeleteDisruptionBudget:
    """Delete the revision's disruption budget."""

    revision: str


@dataclass(frozen=True)
class ApplyShadowConfig:
    """Let stable's pods mirror this share of the requests, in percent, to the revision; None: to no revision.

    At 0 nothing is mirrored, and labels of requests that were mirrored before still count. The control group, when
    there is one, gets the same requests, through a Service of its own.
    """

    revision: str | None
    share: int = 0
    control: str = ""
    """Its revision label."""


Action = (
    ApplyWorkload
    | ApplyControlGroup
    | DeleteWorkload
    | SelectRevision
    | SetWeight
    | ApplyAutoscaler
    | DeleteAutoscaler
    | ApplyDisruptionBudget
    | DeleteDisruptionBudget
    | ApplyShadowConfig
)


@dataclass(frozen=True)
class Event:
    """A message for people: a Kubernetes event on the release and a log line."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Decision:
    """The result of one reconcile.

    The status is the intent: it is stored before the actions run, so that an operator that was killed in between
    finds it. `requeue_after` is in seconds; 0 means at once. `deleted` releases the finalizer.
    """

    status: ReleaseStatus
    reason: str
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float = 300.0
    deleted: bool = False
