"""Stage Idle: stable serves everything. Keep it so, and begin a release when the spec asks for another revision."""

from __future__ import annotations

from iris_operator.api.status import Stage, StepStatus
from iris_operator.rollout.decision import Decision, SetWeight
from iris_operator.rollout.plan import POLL_SECONDS, Plan, enter, steps_of
from iris_operator.rollout.scaling import pods_for_all
from iris_operator.rollout.upkeep import keep_service, keep_workload


def idle(plan: Plan) -> Decision:
    """Upkeep of stable first; a release begins only from a healthy ground."""
    stable, target = plan.status.stable, plan.o.target
    assert stable is not None, "stage Idle is entered with a stable revision"  # noqa: S101 - an invariant of the state machine
    _keep_serving(plan)
    if target.revision == stable.revision:
        if plan.status.rejected is not None:
            plan.update(rejected=None, analysis=None)
        return plan.done("Serving", f"version {stable.version} serves all traffic")
    rejected = plan.status.rejected
    if rejected and rejected.revision == target.revision and not _asked_again(plan):
        return plan.done(rejected.reason, rejected.message)
    if plan.o.spec.paused:
        return plan.done("Paused", f"version {target.version} waits: spec.paused is true")
    return _begin(plan)


def _keep_serving(plan: Plan) -> None:
    stable = plan.status.stable
    assert stable is not None, "stage Idle is entered with a stable revision"  # noqa: S101 - as above
    pods = pods_for_all(plan)
    keep_workload(plan, stable, "stable", pods)
    keep_service(plan, "stable", stable.revision)
    route = plan.o.route
    if not route.exists or not route.intact or route.weight != 0:
        plan.tell("RouteRepaired", "the route did not say what the release asks for; all traffic goes to stable")
        plan.act(SetWeight(0))
        plan.wake(0)
    seen = plan.o.workloads.get(stable.revision)
    if seen is None or seen.ready < pods:
        plan.wake(POLL_SECONDS)


def _asked_again(plan: Plan) -> bool:
    return plan.o.retry is not None and plan.o.retry != plan.status.rollout.observed_retry


def _begin(plan: Plan) -> Decision:
    target = plan.o.target
    plan.update(
        canary=target,
        rejected=None,
        analysis=None,
        step=StepStatus(index=0, count=len(steps_of(plan.o.spec))),
    )
    enter(plan, Stage.PROGRESSING)
    plan.rollout(started_at=plan.now, waiting_since=plan.now, observed_retry=plan.o.retry)
    stable = plan.status.stable
    before = f" beside {stable.version}" if stable else ""
    plan.tell("ReleaseStarted", f"version {target.version} (revision {target.revision}) starts{before}")
    return plan.done("ReleaseStarted", f"version {target.version} starts")
