"""What `decide` answers: the next status, the actions that bring the world there, and when to look again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from iris_operator.api.status import ReleaseStatus, RevisionRef


@dataclass(frozen=True)
class ApplyWorkload:
    """Make the revision's Deployment say this; a revision's pods are only replaced when they differ."""

    ref: RevisionRef
    role: Literal["stable", "canary", "retired"]
    replicas: int | None
    """None leaves their number to the autoscaler."""
    retired_at: datetime | None = None


@dataclass(frozen=True)
class DeleteWorkload:
    """Remove a revision that is out of the history, or of no use to anybody."""

    revision: str


@dataclass(frozen=True)
class PointService:
    """Make the stable or the canary Service select a revision."""

    backend: Literal["stable", "canary"]
    revision: str


@dataclass(frozen=True)
class SetWeight:
    """Give the canary this share of the requests, in percent, and read it back. Creates the route when missing."""

    weight: int


@dataclass(frozen=True)
class Autoscale:
    """Make the release's autoscaler scale this revision, and let it take pods away or only add some."""

    revision: str
    shrinks: bool


@dataclass(frozen=True)
class StopAutoscaling:
    """Remove the release's autoscaler."""


@dataclass(frozen=True)
class Protect:
    """Let a drain take pods of the revision only while so many stay; None is all but one."""

    revision: str
    at_least: int | None


@dataclass(frozen=True)
class Unprotect:
    """Remove the revision's budget."""

    revision: str


@dataclass(frozen=True)
class Mirror:
    """Have stable's pods send copies of this share of the requests, in percent, to the revision; None: to nobody.

    At 0 nothing is copied, and what was copied before still counts when a label comes.
    """

    revision: str | None
    share: int = 0


Action = (
    ApplyWorkload
    | DeleteWorkload
    | PointService
    | SetWeight
    | Autoscale
    | StopAutoscaling
    | Protect
    | Unprotect
    | Mirror
)


@dataclass(frozen=True)
class Notice:
    """A line for a person: an event on the release and a log line."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Decision:
    """One pass's outcome.

    The status is the intent: it is stored before the actions run, so that an operator killed in between finds
    what was meant. `wake_after` is in seconds; 0 means at once. `deleted` releases the finalizer.
    """

    status: ReleaseStatus
    reason: str
    actions: tuple[Action, ...] = ()
    notices: tuple[Notice, ...] = ()
    wake_after: float = 300.0
    deleted: bool = False
