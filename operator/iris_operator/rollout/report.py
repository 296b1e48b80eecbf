"""What people and tools read: phase, weight, conditions and verdict, derived from the state and the observation."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from iris_operator.analysis.verdict import Verdict
from iris_operator.api.status import Outcome, Phase, Rejected, ReleaseStatus, Stage
from iris_operator.rollout.builder import DecisionBuilder, seconds_since
from iris_operator.rollout.conditions import Condition, find, unfinished, with_conditions
from iris_operator.rollout.control_group import ArmPods, canary_share
from iris_operator.rollout.decision import Decision

_PAUSED_REASONS = {"Paused", "AwaitingApproval", "Held"}
_FAILED_STARTS = {"ReadyTimeout", "Crashing"}
# Reasons of Degraded that are decided anew in each reconcile.
_DECIDED_ANEW = {*_FAILED_STARTS, "NoReadyPods", "InconsistentStatus", "StableUnavailable", "StatusUnreadable"}
_VALUES: Final = {"True": True, "False": False}
_BY_STAGE = {Stage.PROMOTING: Phase.PROMOTING, Stage.ROLLING_BACK: Phase.ROLLING_BACK}


def report(builder: DecisionBuilder, decision: Decision) -> Decision:
    """Complete a decision's status."""
    step = decision.status.step
    phase = _phase(builder, decision.status)
    status = decision.status.model_copy(
        update={
            "observed_generation": builder.observation.generation,
            "phase": phase,
            "weight": _share(builder, decision.status),
            "step_text": f"{step.index}/{step.count}" if step.count else "",
        }
    )
    left = _left_to_do(builder, status)
    conditions = _conditions(builder, status, phase)
    if builder.problems and phase is not Phase.DEGRADED:
        # The release goes on, so its phase, and what is left to do, stay what they are.
        conditions[-1] = Condition("Degraded", True, builder.problems[0][0], "; ".join(m for _, m in builder.problems))
    status = status.model_copy(update={"verdict_text": _verdict_text(status, phase, left)})
    wanted = [*conditions, *([left] if left else [])]
    return replace(decision, status=with_conditions(status, wanted, builder.observation.generation, builder.now))


def still_degraded(before: ReleaseStatus, decided: ReleaseStatus, now: datetime) -> ReleaseStatus:
    """What is stored before a decision is carried out: still with the failure of the reconcile before.

    Without it the release would look well between two attempts. The decided status as it is when there was no failure,
    when it is over (another spec, another stage), or when it was none of a reconcile but is decided anew in each.
    """
    failing = find(before, "Degraded")
    same = before.observed_generation == decided.observed_generation
    same = same and before.rollout.stage is decided.rollout.stage
    if failing is None or failing.status != "True" or failing.reason in _DECIDED_ANEW:
        return decided
    if not same or decided.phase is Phase.DEGRADED or _is_degraded(decided):
        return decided
    others = [each for each in decided.conditions if each.type not in ("Degraded", "Reconciling")]
    wanted = [Condition(each.type, _VALUES.get(each.status), each.reason, each.message) for each in others]
    wanted.append(Condition("Degraded", True, failing.reason, failing.message))
    changed: dict[str, Any] = {"phase": Phase.DEGRADED, "conditions": before.conditions}
    if all(each.type != "Stalled" for each in others):
        left = unfinished(failing.reason, failing.message, seconds_since(failing.last_transition_time, now))
        wanted.append(left)
        if left.type == "Stalled":
            changed["verdict_text"] = left.reason
    return with_conditions(decided.model_copy(update=changed), wanted, decided.observed_generation, now)


def _is_degraded(status: ReleaseStatus) -> bool:
    found = find(status, "Degraded")
    return found is not None and found.status == "True"


def degraded(
    status: ReleaseStatus, generation: int, reason: str, message: str, now: datetime, ready_pods: int | None
) -> ReleaseStatus:
    """The status of a release that could not be reconciled: nothing is changed, and it says why.

    The durable state stays as it was, so that the next reconcile that succeeds continues from there. `ready_pods` are
    those of stable's version, None when that is not known.
    """
    promoted, failing = find(status, "Promoted"), find(status, "Degraded")
    current = promoted is not None and promoted.observed_generation == generation
    since = failing.last_transition_time if failing and failing.status == "True" else None
    left = unfinished(reason, message, seconds_since(since, now))
    if current and promoted and promoted.reason == "RolledBack" and status.rejected:
        # The version has failed, whatever else goes wrong afterwards.
        left = Condition("Stalled", True, status.rejected.reason, status.rejected.message)
    conditions = [_ready(status, ready_pods), Condition("Degraded", True, reason, message), left]
    if not current or (promoted and promoted.status == "True" and ready_pods == 0):
        conditions.append(Condition("Promoted", False, "Progressing", message))
    changed = {"phase": Phase.DEGRADED, "observed_generation": generation}
    if left.type == "Stalled":
        changed["verdict_text"] = left.reason
    return with_conditions(status.model_copy(update=changed), conditions, generation, now)


def _share(builder: DecisionBuilder, status: ReleaseStatus) -> int:
    """The share of the new version, in percent: of what the route gives the canary Service, what its own pods get."""
    backend, control = builder.observation.canary, status.control
    canary = backend.ready.get(backend.selects or "", 0)
    pods = ArmPods(canary, backend.ready.get(control.revision, 0) if control else 0)
    return round(canary_share(builder.observation.route.weight, pods))


def _phase(builder: DecisionBuilder, status: ReleaseStatus) -> Phase:
    stage, reason = status.rollout.stage, status.rollout.reason
    if stage is Stage.INITIALIZING:
        return Phase.DEGRADED if reason in _FAILED_STARTS else Phase.INITIALIZING
    if stage in _BY_STAGE:
        return _BY_STAGE[stage]
    if reason in _PAUSED_REASONS:
        return Phase.PAUSED
    return Phase.PROGRESSING if stage is Stage.PROGRESSING else _idle_phase(builder, status)


def _idle_phase(builder: DecisionBuilder, status: ReleaseStatus) -> Phase:
    rejected = _rejected(builder, status)
    if not _stable_pods(builder, status):
        return Phase.DEGRADED
    if rejected is None:
        return Phase.STABLE
    return Phase.PAUSED if rejected.keeps_pods else Phase.ROLLED_BACK


def _rejected(builder: DecisionBuilder, status: ReleaseStatus) -> Rejected | None:
    """The revision that the spec asks for, when it has failed: one that failed before says nothing about the next."""
    rejected = status.rejected
    idle = status.rollout.stage is Stage.IDLE
    return rejected if idle and rejected and rejected.revision == builder.observation.target.revision else None


def _stable_pods(builder: DecisionBuilder, status: ReleaseStatus) -> int:
    workload = builder.observation.workloads.get(status.stable.revision) if status.stable else None
    return workload.ready if workload else 0


def _obstacle(builder: DecisionBuilder, status: ReleaseStatus) -> tuple[str, str] | None:
    """Why stable does not serve what the spec asks for, as one word and a sentence; None when it does."""
    rollout, stable, observation = status.rollout, status.stable, builder.observation
    if rollout.stage is not Stage.IDLE or stable is None or stable.revision != observation.target.revision:
        return rollout.reason, rollout.message or rollout.reason
    if not _stable_pods(builder, status):
        return "NoReadyPods", f"version {stable.version}: no pod is ready"
    route = observation.route
    if not (route.exists and route.intact and route.weight == 0 and observation.stable.serves(stable.revision)):
        return "Repairing", f"the route does not lead to version {stable.version}"
    return None


def _left_to_do(builder: DecisionBuilder, status: ReleaseStatus) -> Condition | None:
    """What stands between the release and what its spec asks for: `Reconciling` or `Stalled`, None without anything."""
    rejected, obstacle = _rejected(builder, status), _obstacle(builder, status)
    if builder.observation.deleting:
        return unfinished(status.rollout.reason, status.rollout.message)
    if rejected:
        return Condition("Stalled", True, rejected.reason, rejected.message)
    return unfinished(*obstacle) if obstacle else None


def _conditions(builder: DecisionBuilder, status: ReleaseStatus, phase: Phase) -> list[Condition]:
    rollout, ready, obstacle = status.rollout, _ready(status, _stable_pods(builder, status)), _obstacle(builder, status)
    idle, message = rollout.stage is Stage.IDLE, rollout.message or rollout.reason
    promoted = Condition("Promoted", True, "Promoted", message)
    if obstacle:
        promoted = Condition("Promoted", False, _not_promoted_reason(builder, status, phase), obstacle[1])
    trouble = Condition("Degraded", False, "AsExpected", "")
    if phase is Phase.DEGRADED:
        dead = idle and status.stable is not None and not ready.value
        why = (ready.reason, ready.message) if dead else (rollout.reason, message)
        trouble = Condition("Degraded", True, *why)
    return [ready, Condition("Progressing", not idle, rollout.stage.value, message), promoted, trouble]


def _ready(status: ReleaseStatus, pods: int | None) -> Condition:
    """Does stable serve, whatever else happens?"""
    stable = f"version {status.stable.version}" if status.stable else "no version yet"
    if pods is None:
        return Condition("Ready", None, "Unknown", f"{stable}: its pods are not known")
    if pods == 0:
        return Condition("Ready", False, "NoReadyPods", f"{stable}: no pod is ready")
    return Condition("Ready", True, "Serving", f"{stable} serves")


def _not_promoted_reason(builder: DecisionBuilder, status: ReleaseStatus, phase: Phase) -> str:
    """The contract's three reasons for Promoted=False."""
    rolling_back = status.rollout.stage is Stage.ROLLING_BACK and status.rollout.outcome is Outcome.ROLLED_BACK
    if phase is Phase.PAUSED:
        return "Paused"
    return "RolledBack" if rolling_back or _rejected(builder, status) else "Progressing"


def _verdict_text(status: ReleaseStatus, phase: Phase, left: Condition | None) -> str:
    """Why the version failed, else what its checks say; of one that serves only that they passed."""
    rollout, verdict = status.rollout, status.analysis.verdict if status.analysis else ""
    if left and left.type == "Stalled":
        return left.reason
    if rollout.stage is Stage.INITIALIZING:
        return rollout.reason if phase is Phase.DEGRADED else ""
    if rollout.stage is Stage.ROLLING_BACK:
        return rollout.reason if rollout.outcome is Outcome.ROLLED_BACK else ""
    return verdict if rollout.stage is not Stage.IDLE or verdict == Verdict.PASS.value else ""
