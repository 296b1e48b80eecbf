"""Stage RollingBack: traffic leaves the canary before anything else happens to it."""

from __future__ import annotations

from iris_operator.api.status import Outcome, Rejected, RevisionRef, Stage, StepStatus
from iris_operator.rollout.decision import ApplyWorkload, Decision, PointService, SetWeight
from iris_operator.rollout.plan import DRAIN_SECONDS, POLL_SECONDS, Plan, enter, remember, seconds_since
from iris_operator.rollout.scaling import pods_for_all
from iris_operator.rollout.upkeep import keep_workload


def begin_rollback(plan: Plan, outcome: Outcome, reason: str, message: str) -> Decision:
    """Decide to take the canary away, and take its traffic in the same pass."""
    plan.actions.clear()
    enter(plan, Stage.ROLLING_BACK)
    plan.rollout(outcome=outcome)
    plan.tell(
        "RollingBack" if outcome is Outcome.ROLLED_BACK else reason, message, warning=outcome is Outcome.ROLLED_BACK
    )
    if _may_withdraw(plan):
        _withdraw(plan)
    return plan.done(reason, message)


def rolling_back(plan: Plan) -> Decision:
    """Weight 0, verified, drained; then the canary's pods may go."""
    canary, kept = plan.status.canary, plan.status.rollout
    assert canary is not None, "stage RollingBack is entered with a canary"  # noqa: S101 - an invariant of the state machine
    if plan.status.stable:
        keep_workload(plan, plan.status.stable, "stable", pods_for_all(plan))
    plan.wake(POLL_SECONDS)
    if not _withdrawn(plan):
        if _may_withdraw(plan):
            _withdraw(plan)
            plan.wake(0)
        else:
            plan.tell(
                "StableUnavailable", "stable has no ready pod; the canary keeps the traffic until it has", warning=True
            )
        return _still(plan)
    if kept.settled_at is None:
        plan.rollout(settled_at=plan.now)
        plan.wake(DRAIN_SECONDS)
        return _still(plan)
    left = DRAIN_SECONDS - seconds_since(kept.settled_at, plan.now)
    if left > 0:
        plan.wake(left)
        return _still(plan)
    return _finish(plan, canary)


def _still(plan: Plan) -> Decision:
    """Not done yet, and still for the reason that began it."""
    kept = plan.status.rollout
    return plan.done(kept.reason or "RollingBack", kept.message)


def _finish(plan: Plan, canary: RevisionRef) -> Decision:
    kept = plan.status.rollout
    outcome = kept.outcome or Outcome.ROLLED_BACK
    keeps_pods = outcome is Outcome.ROLLED_BACK and _pauses(plan)
    seen = plan.o.workloads.get(canary.revision)
    if seen and not keeps_pods and (seen.role != "retired" or seen.replicas > 0):
        # The status follows when this is seen: an operator killed in between finds the rollback unfinished.
        plan.act(ApplyWorkload(canary, "retired", 0, plan.now))
        return _still(plan)
    remember(plan, canary, outcome, f"{kept.reason}: {kept.message}")
    if outcome is Outcome.ROLLED_BACK:
        rejected = Rejected(
            revision=canary.revision,
            version=canary.version,
            image=canary.image,
            reason=kept.reason,
            message=kept.message,
            at=plan.now,
            keeps_pods=keeps_pods,
        )
        plan.update(rejected=rejected)
        plan.tell("RolledBack", f"{kept.reason}: {kept.message}", warning=True)
    plan.update(canary=None, step=StepStatus(index=0, count=plan.status.step.count))
    enter(plan, Stage.IDLE)
    return plan.done(kept.reason or "RolledBack", kept.message)


def _pauses(plan: Plan) -> bool:
    return plan.o.spec.rollout.on_failure == "Pause" or plan.status.rollout.reason == "HoldTimeout"


def _withdrawn(plan: Plan) -> bool:
    stable = plan.status.stable
    return plan.o.route.weight == 0 and (stable is None or plan.o.stable.selects in (None, stable.revision))


def _may_withdraw(plan: Plan) -> bool:
    """Not onto a stable that has nobody ready while the canary still answers."""
    stable, canary = plan.status.stable, plan.status.canary
    stable_ready = sum(plan.o.stable.ready.values())
    if stable and stable.revision in plan.o.workloads:
        stable_ready = max(stable_ready, plan.o.workloads[stable.revision].ready)
    canary_ready = plan.o.canary.serves(canary.revision) if canary else 0
    return stable_ready > 0 or canary_ready == 0


def _withdraw(plan: Plan) -> None:
    stable = plan.status.stable
    if stable and plan.o.stable.selects not in (None, stable.revision):
        # A promotion had begun to switch: without this, weight 0 would lead to the canary again.
        plan.act(PointService("stable", stable.revision))
    if plan.o.route.weight != 0:
        plan.act(SetWeight(0))
        plan.wake(0)
