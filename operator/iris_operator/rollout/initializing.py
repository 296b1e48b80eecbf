"""Stage Initializing: the first version ever. Nobody is served yet, so there are no steps to take."""

from __future__ import annotations

from iris_operator.api.durations import format_duration
from iris_operator.api.status import Outcome, Stage
from iris_operator.rollout.decision import ApplyWorkload, Decision, SetWeight
from iris_operator.rollout.plan import POLL_SECONDS, Plan, enter, limit_of, remember, seconds_since
from iris_operator.rollout.scaling import pods_for_all
from iris_operator.rollout.upkeep import keep_service, keep_workload


def initializing(plan: Plan) -> Decision:
    """Bring the target up, then its Service, then the route: nobody is routed to a pod that is not ready."""
    target, replicas = plan.o.target, pods_for_all(plan)
    for revision, workload in plan.o.workloads.items():
        if revision != target.revision and workload.replicas > 0:
            plan.act(ApplyWorkload(workload.ref, "retired", 0, plan.now))
    if plan.status.rollout.started_at is None:
        plan.rollout(started_at=plan.now, waiting_since=plan.now)
        plan.tell("Deploying", f"first deployment: version {target.version} (revision {target.revision})")
    plan.wake(POLL_SECONDS)
    keep_workload(plan, target, "stable", replicas)
    seen = plan.o.workloads.get(target.revision)
    if seen is None or seen.ready < replicas:
        return _wait_for_pods(plan)
    if not keep_service(plan, "stable", target.revision):
        return plan.done("ServicePointed", f"the stable Service now selects revision {target.revision}")
    if plan.o.stable.serves(target.revision) < replicas:
        return plan.done("WaitingForEndpoints", "the pods are ready, their endpoints are not listed yet")
    if not plan.o.route.exists or not plan.o.route.intact or plan.o.route.weight != 0:
        plan.act(SetWeight(0))
        plan.wake(0)
        return plan.done("RouteCreated", f"routing {plan.o.spec.traffic.host} to version {target.version}")
    plan.update(stable=target)
    remember(plan, target, Outcome.PROMOTED, "first deployment")
    enter(plan, Stage.IDLE)
    plan.tell("Deployed", f"version {target.version} serves {plan.o.spec.traffic.host}")
    return plan.done("Deployed", f"version {target.version} serves all traffic")


def _wait_for_pods(plan: Plan) -> Decision:
    target, replicas = plan.o.target, pods_for_all(plan)
    seen = plan.o.workloads.get(target.revision)
    ready, why = (seen.ready, seen.crash or seen.waiting) if seen else (0, "")
    waited = seconds_since(plan.status.rollout.waiting_since, plan.now)
    text = f"{ready} of {replicas} pods of version {target.version} are ready" + (f": {why}" if why else "")
    if waited > limit_of(plan.o.spec.rollout.ready_timeout):
        return plan.done(
            "ReadyTimeout", f"{text}; waited {format_duration(waited)}. Fix the version and apply it again"
        )
    if seen and seen.crash:
        return plan.done("Crashing", text)
    return plan.done("WaitingForPods", text)
