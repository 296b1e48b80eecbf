"""What people and `kubectl wait` read: phase, weight and conditions, derived from the state and the observation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from iris_operator.api.status import ConditionStatus, Outcome, Phase, ReleaseStatus, Stage
from iris_operator.rollout.builder import DecisionBuilder
from iris_operator.rollout.control_group import ArmPods, canary_share
from iris_operator.rollout.decision import Decision

_PAUSED_REASONS = {"Paused", "AwaitingApproval", "Held"}
_FAILED_STARTS = {"ReadyTimeout", "Crashing"}
_BY_STAGE = {Stage.PROMOTING: Phase.PROMOTING, Stage.ROLLING_BACK: Phase.ROLLING_BACK}

ConditionType = Literal["Ready", "Progressing", "Promoted", "Degraded"]


@dataclass(frozen=True)
class _Condition:
    type: ConditionType
    is_true: bool
    reason: str
    message: str


def report(builder: DecisionBuilder, decision: Decision) -> Decision:
    """Complete a decision's status."""
    rollout = decision.status.rollout
    phase = _phase(builder, decision.status)
    step = decision.status.step
    status = decision.status.model_copy(
        update={
            "observed_generation": builder.observation.generation,
            "phase": phase,
            "weight": _share(builder, decision.status),
            "step_text": f"{step.index}/{step.count}" if step.count else "",
        }
    )
    conditions = _conditions(builder, status, phase, rollout.message or rollout.reason)
    return replace(decision, status=_with_conditions(status, conditions, builder.observation.generation, builder.now))


def _share(builder: DecisionBuilder, status: ReleaseStatus) -> int:
    """The share of the new version, in percent: of what the route gives the canary Service, what its own pods get."""
    backend, control = builder.observation.canary, status.control
    canary = backend.ready.get(backend.selects or "", 0)
    pods = ArmPods(canary, backend.ready.get(control.revision, 0) if control else 0)
    return round(canary_share(builder.observation.route.weight, pods))


def degraded(status: ReleaseStatus, generation: int, reason: str, message: str, now: datetime) -> ReleaseStatus:
    """The status of a release that could not be reconciled: nothing is changed, and it says why.

    The durable state stays as it was, so that the next reconcile that succeeds continues from there.
    """
    changed = status.model_copy(update={"phase": Phase.DEGRADED, "observed_generation": generation})
    promoted = next((c for c in status.conditions if c.type == "Promoted"), None)
    stale = promoted is None or promoted.observed_generation != generation
    conditions = [_Condition("Degraded", True, reason, message)]
    if stale:
        conditions.append(_Condition("Promoted", False, "Progressing", message))
    return _with_conditions(changed, conditions, generation, now)


def _phase(builder: DecisionBuilder, status: ReleaseStatus) -> Phase:
    stage, reason = status.rollout.stage, status.rollout.reason
    if stage is Stage.INITIALIZING:
        return Phase.DEGRADED if reason in _FAILED_STARTS else Phase.INITIALIZING
    if reason == "InconsistentStatus":
        return Phase.DEGRADED
    if stage in _BY_STAGE:
        return _BY_STAGE[stage]
    if reason in _PAUSED_REASONS:
        return Phase.PAUSED
    return Phase.PROGRESSING if stage is Stage.PROGRESSING else _idle_phase(builder, status)


def _idle_phase(builder: DecisionBuilder, status: ReleaseStatus) -> Phase:
    if not _stable_ready(builder, status):
        return Phase.DEGRADED
    if status.rejected is None:
        return Phase.STABLE
    return Phase.PAUSED if status.rejected.keeps_pods else Phase.ROLLED_BACK


def _stable_ready(builder: DecisionBuilder, status: ReleaseStatus) -> bool:
    if status.stable is None:
        return False
    workload = builder.observation.workloads.get(status.stable.revision)
    return workload is not None and workload.ready > 0


def _conditions(builder: DecisionBuilder, status: ReleaseStatus, phase: Phase, message: str) -> list[_Condition]:
    ready = _stable_ready(builder, status)
    stable = f"version {status.stable.version}" if status.stable else "no version yet"
    promoted = (
        status.rollout.stage is Stage.IDLE
        and status.stable is not None
        and status.stable.revision == builder.observation.target.revision
    )
    progressing = status.rollout.stage is not Stage.IDLE
    return [
        _Condition(
            "Ready",
            ready,
            "Serving" if ready else "NoReadyPods",
            f"{stable} serves" if ready else f"{stable}: no pod is ready",
        ),
        _Condition("Progressing", progressing, status.rollout.stage.value, message),
        _Condition("Promoted", promoted, "Promoted" if promoted else _not_promoted_reason(status, phase), message),
        _Condition(
            "Degraded",
            phase is Phase.DEGRADED,
            status.rollout.reason if phase is Phase.DEGRADED else "AsExpected",
            message if phase is Phase.DEGRADED else "",
        ),
    ]


def _not_promoted_reason(status: ReleaseStatus, phase: Phase) -> str:
    """The contract's three reasons for Promoted=False."""
    rolling_back = status.rollout.stage is Stage.ROLLING_BACK and status.rollout.outcome is Outcome.ROLLED_BACK
    if phase is Phase.PAUSED:
        return "Paused"
    if rolling_back or (status.rollout.stage is Stage.IDLE and status.rejected is not None):
        return "RolledBack"
    return "Progressing"


def _with_conditions(status: ReleaseStatus, wanted: list[_Condition], generation: int, now: datetime) -> ReleaseStatus:
    before = {condition.type: condition for condition in status.conditions}
    after = dict(before)
    for condition in wanted:
        old = before.get(condition.type)
        value: Literal["True", "False"] = "True" if condition.is_true else "False"
        after[condition.type] = ConditionStatus(
            type=condition.type,
            status=value,
            reason=condition.reason,
            message=condition.message,
            last_transition_time=old.last_transition_time if old and old.status == value else now,
            observed_generation=generation,
        )
    return status.model_copy(update={"conditions": list(after.values())})
