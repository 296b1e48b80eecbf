"""Stage Promoting: stable's Service moves to the canary's pods while the canary route carries everything.

No pod restarts and no model is loaded again; the old revision stays warm for `scaleDownDelay`.
"""

from __future__ import annotations

from iris_operator.api.status import Outcome, RevisionRef, Stage, StepStatus
from iris_operator.rollout.decision import ApplyWorkload, Decision, SetWeight
from iris_operator.rollout.plan import ALL_TRAFFIC, DRAIN_SECONDS, POLL_SECONDS, Plan, enter, remember, seconds_since
from iris_operator.rollout.rolling_back import begin_rollback
from iris_operator.rollout.scaling import pods_for_all
from iris_operator.rollout.upkeep import keep_service, keep_workload


def promoting(plan: Plan) -> Decision:
    """Switch the selector, verify, let the router catch up, give the weight back, swap the roles."""
    canary, pods = plan.status.canary, pods_for_all(plan)
    assert canary is not None, "stage Promoting is entered with a canary"  # noqa: S101 - an invariant of the state machine
    plan.wake(POLL_SECONDS)
    seen = plan.o.workloads.get(canary.revision)
    if seen is None or seen.crash or seen.ready == 0:
        why = seen.crash or seen.waiting if seen else "its Deployment is gone"
        return begin_rollback(plan, Outcome.ROLLED_BACK, "Crash", f"version {canary.version} during promotion: {why}")
    switched = plan.o.stable.selects == canary.revision
    if not switched:
        keep_workload(plan, canary, "canary", pods)
    if not switched and plan.o.route.weight != ALL_TRAFFIC:
        plan.act(SetWeight(ALL_TRAFFIC))
        plan.wake(0)
        return plan.done("Promoting", "weight 100 again before the switch")
    if not keep_service(plan, "stable", canary.revision):
        plan.rollout(settled_at=None)
        return plan.done("Promoting", f"the stable Service now selects revision {canary.revision}")
    if not plan.o.stable.serves_only(canary.revision):
        return plan.done("Promoting", "waiting for the stable Service's endpoints to change")
    if plan.o.route.weight != 0:
        return _give_weight_back(plan)
    return _swap_roles(plan, canary)


def _give_weight_back(plan: Plan) -> Decision:
    settled = plan.status.rollout.settled_at
    if settled is None:
        plan.rollout(settled_at=plan.now)
        return plan.done("Promoting", "letting the router see the new endpoints")
    left = DRAIN_SECONDS - seconds_since(settled, plan.now)
    if left > 0:
        plan.wake(left)
        return plan.done("Promoting", "letting the router see the new endpoints")
    plan.act(SetWeight(0))
    plan.wake(0)
    return plan.done("Promoting", "both Services lead to the new version; weight back to 0")


def _swap_roles(plan: Plan, canary: RevisionRef) -> Decision:
    """The labels first, the status when they are seen: an operator killed in between finds the promotion unfinished."""
    before = plan.status.stable
    swapped = keep_workload(plan, canary, "stable", pods_for_all(plan))
    old = plan.o.workloads.get(before.revision) if before else None
    if old and old.role != "retired":
        plan.act(ApplyWorkload(old.ref, "retired", old.replicas, plan.now))
        swapped = False
    if not swapped:
        return plan.done("Promoting", "swapping the roles of the two revisions")
    remember(plan, canary, Outcome.PROMOTED, "all checks passed")
    count = plan.status.step.count
    plan.update(stable=canary, canary=None, rejected=None, step=StepStatus(index=count, count=count))
    enter(plan, Stage.IDLE)
    after = f", after {before.version}" if before else ""
    plan.tell("Promoted", f"version {canary.version} serves all traffic{after}")
    return plan.done("Promoted", f"version {canary.version} serves all traffic")
