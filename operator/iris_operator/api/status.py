"""`status`: what the operator observed and decided. Only the operator writes it."""

from __future__ import annotations

import math
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from iris_operator.api.base import ApiModel


class Phase(StrEnum):
    """The one word that a person reads first."""

    INITIALIZING = "Initializing"
    STABLE = "Stable"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    PROMOTING = "Promoting"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    DEGRADED = "Degraded"


class Stage(StrEnum):
    """Where the state machine stands. `phase` is derived from it and from what is seen; this is what survives."""

    INITIALIZING = "Initializing"
    IDLE = "Idle"
    PROGRESSING = "Progressing"
    PROMOTING = "Promoting"
    ROLLING_BACK = "RollingBack"


class Outcome(StrEnum):
    """How a revision's turn ended."""

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    SUPERSEDED = "Superseded"


class RevisionRef(ApiModel):
    """One revision: a version of the model with the way its pods are built."""

    revision: str
    version: str
    image: str


class ControlStatus(RevisionRef):
    """The control group of the rollout: pods of stable's version under a revision of their own."""

    pods: int = Field(default=0, description="Pods in it: what the comparison costs.")


class WatchStatus(ApiModel):
    """After a promotion: the version before stays warm, and what became stable is judged against what that was like."""

    previous: RevisionRef
    until: datetime
    judged_at: datetime | None = Field(default=None, description="When the newest judgement was made.")
    judged_through: datetime | None = Field(default=None, description="Requests up to here have been counted.")
    memory: str = Field(default="", description="Evidence so far, as JSON by check: for the operator, not for people.")


class StepStatus(ApiModel):
    """Steps begun so far; index 0 means that the canary takes no traffic yet."""

    index: int = 0
    count: int = 0


ConditionType = Literal["Ready", "Progressing", "Promoted", "Degraded", "Reconciling", "Stalled"]

# The observed generation of a status that the operator has not written yet: no object has it, so that tools that
# compare generations (kstatus) wait. It is the default of the CRD, too.
NOT_OBSERVED = -1


class ConditionStatus(ApiModel):
    """A standard Kubernetes condition. `Reconciling` and `Stalled` are there only while they are True."""

    type: ConditionType
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    last_transition_time: datetime
    observed_generation: int = 0


class Evidence(ApiModel):
    """What the requests say so far, as e-values: multiples of what chance alone would bring.

    `worse` at or above `rollback_at` rolls back, `good` at or above `promote_at` lets the next step begin.
    """

    worse: float = 1.0
    rollback_at: float = 100.0
    good: float = 1.0
    promote_at: float = 20.0


class CheckStatus(ApiModel):
    """One check's newest word."""

    name: str
    verdict: str
    reason: str
    canary: float | None = Field(default=None, description="The measured share on the canary, 0 to 1.")
    stable: float | None = Field(default=None, description="The measured share on stable, 0 to 1.")
    requests: int = Field(default=0, description="Canary requests judged in this release.")
    evidence: Evidence | None = None


class AnalysisStatus(ApiModel):
    """The judgement of the canary, and what a restarted operator needs to go on with it."""

    verdict: str = "NoData"
    checks: list[CheckStatus] = Field(
        default_factory=list,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    estimated_time_left: str | None = None
    judged_at: datetime | None = Field(default=None, description="When the newest judgement was made.")
    judged_through: datetime | None = Field(default=None, description="Requests up to here have been counted.")
    resolution: str = Field(default="", description="What cannot be told apart with these pods, and how many would do.")
    memory: str = Field(default="", description="Evidence so far, as JSON by check: for the operator, not for people.")


class Shortcut(StrEnum):
    """Why a rollout leaves out its remaining steps."""

    NONE = ""
    PROMOTE = "Promote"
    """A person asked for it by the annotation `promote`."""
    ROLLBACK_WINDOW = "RollbackWindow"
    """The version was promoted before, within `rollout.rollbackWindow`."""
    STABLE_DOWN = "StableDown"
    """No pod of stable is ready, so that only the canary can answer."""


class RolloutStatus(ApiModel):
    """The durable part of the state machine."""

    stage: Stage = Stage.INITIALIZING
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    step_started_at: datetime | None = Field(default=None, description="When the step's weight was confirmed.")
    traffic_since: datetime | None = Field(default=None, description="When the canary first got a share.")
    retreats: int = Field(default=0, description="How often all traffic went back to stable for trouble of both.")
    clean_baselines: int = Field(default=0, description="Intervals in a row without trouble of stable after a retreat.")
    route_weight: int | None = Field(
        default=None, description="Weight that the route was seen to have; none while it is being changed."
    )
    confirmed_weight: int = Field(default=0, description="Weight that the current step has earned and got.")
    earned_pods: int = Field(default=0, description="Canary pods that were ready when the current step was given.")
    waiting_since: datetime | None = Field(default=None, description="Since when a revision is awaited to be ready.")
    hold_since: datetime | None = Field(default=None, description="Since when no verdict lets the step go on.")
    incident_since: datetime | None = Field(
        default=None, description="Since when both versions, or stable alone after a retreat, are in trouble."
    )
    settled_at: datetime | None = Field(default=None, description="When the last traffic change was verified.")
    outcome: Outcome | None = Field(default=None, description="Why the canary is being removed.")
    observed_retry: str | None = None
    attempt: int = Field(default=1, description="Which attempt of this revision it is; a retry is the next one.")
    shortcut: Shortcut = Field(default=Shortcut.NONE, description="Why the remaining steps are left out, if they are.")
    held: bool = Field(default=False, description="Is the annotation `hold` being obeyed?")
    answered: dict[str, str] = Field(
        default_factory=dict, description="Values of annotations that were answered, by name: a value acts once."
    )
    approval_asked: str = Field(
        default="", description="The step that a person was asked to approve: `<revision>/<step>@<weight>`."
    )
    approved: str = Field(default="", description="What a person has approved, in the same form.")
    pod_losses: int = Field(default=0, description="How often traffic went back to stable for pods that were lost.")
    unready_since: datetime | None = Field(
        default=None, description="Since when the canary is without traffic because its pods are not ready."
    )
    stable_down_since: datetime | None = Field(
        default=None, description="Since when the canary has all traffic because no pod of stable is ready."
    )
    seen_at: datetime | None = Field(
        default=None, description="When time that nobody observed was last taken out of the times above."
    )


class Rejected(RevisionRef):
    """A revision that failed; it is not tried again until the spec changes or a person asks."""

    reason: str
    message: str = ""
    at: datetime
    keeps_pods: bool = Field(default=False, description="onFailure Pause: its pods stay for a look, without traffic.")


class HistoryEntry(RevisionRef):
    """One ended turn, newest first."""

    outcome: Outcome
    reason: str
    started_at: datetime | None = None
    finished_at: datetime
    attempt: int = 1


class ReleaseStatus(ApiModel):
    """The observed state of one served model."""

    observed_generation: int = Field(
        default=NOT_OBSERVED, description="Generation of the spec that this status is about; -1 while there is none."
    )
    phase: Phase = Phase.INITIALIZING
    weight: int = Field(default=0, description="Share of the requests that gets the canary's version, in percent.")
    step: StepStatus = Field(default_factory=StepStatus)
    step_text: str = Field(default="", description="The step as `2/4`, for the table of kubectl get.")
    verdict_text: str = Field(
        default="",
        description="For the table of kubectl get: why the version failed, as one word, or the verdict of its checks.",
    )
    stable: RevisionRef | None = None
    canary: RevisionRef | None = None
    control: ControlStatus | None = None
    watch: WatchStatus | None = None
    rejected: Rejected | None = None
    conditions: list[ConditionStatus] = Field(
        default_factory=list,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    analysis: AnalysisStatus | None = None
    rollout: RolloutStatus = Field(default_factory=RolloutStatus)
    history: list[HistoryEntry] = Field(default_factory=list, json_schema_extra={"x-kubernetes-list-type": "atomic"})

    def to_json(self) -> dict[str, Any]:
        """As every type's; a number that JSON or the API server does not have is left out.

        Such a measure is told in words (`CheckStatus.reason`), and must not stop the status from being stored.
        """
        storable: dict[str, Any] = _storable(super().to_json())
        return storable


_MAX_INTEGER = 2**63 - 1


def _storable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _storable(item) for key, item in value.items() if not _is_out_of_range(item)}
    if isinstance(value, list):
        return [_storable(item) for item in value if not _is_out_of_range(item)]
    return value


def _is_out_of_range(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, int) and not -_MAX_INTEGER <= value <= _MAX_INTEGER
