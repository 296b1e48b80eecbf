"""Stage Initializing: the first version. There is no traffic yet, so there are no steps."""

from __future__ import annotations

from iris_operator.api.durations import format_duration
from iris_operator.api.status import Outcome, Stage
from iris_operator.rollout.builder import (
    POLL_SECONDS,
    DecisionBuilder,
    add_to_history,
    enter_stage,
    seconds_of,
    seconds_since,
)
from iris_operator.rollout.comparison import delete_control_groups
from iris_operator.rollout.decision import ApplyWorkload, Decision, SetWeight
from iris_operator.rollout.drift_repair import ensure_service, ensure_workload
from iris_operator.rollout.scaling import full_capacity


def initializing(builder: DecisionBuilder) -> Decision:
    """Start the target, then its Service, then the route: no request is routed to a pod that is not ready.

    What has ready pods, or is selected and may have some soon, stays as it is until the target serves.
    """
    target, replicas = builder.observation.target, full_capacity(builder)
    for revision, workload in builder.observation.workloads.items():
        serves = workload.ready or revision == builder.observation.stable.selects
        if revision != target.revision and workload.replicas > 0 and workload.inputs_known and not serves:
            builder.add_action(ApplyWorkload(workload.ref, "retired", 0, builder.now))
    delete_control_groups(builder)
    if builder.status.rollout.started_at is None:
        builder.update_rollout(started_at=builder.now, waiting_since=builder.now)
        builder.add_event("Deploying", f"first deployment: version {target.version} (revision {target.revision})")
    builder.requeue_after(POLL_SECONDS)
    ensure_workload(builder, target, "stable", replicas)
    observed = builder.observation.workloads.get(target.revision)
    if observed is None or observed.ready < replicas:
        return _wait_for_pods(builder)
    if not ensure_service(builder, "stable", target.revision):
        return builder.build("ServicePointed", f"the stable Service now selects revision {target.revision}")
    if builder.observation.stable.serves(target.revision) < replicas:
        return builder.build("WaitingForEndpoints", "the pods are ready, their endpoints are not listed yet")
    if (
        not builder.observation.route.exists
        or not builder.observation.route.intact
        or builder.observation.route.weight != 0
    ):
        builder.add_action(SetWeight(0))
        builder.requeue_after(0)
        return builder.build("RouteCreated", f"routing {builder.spec.traffic.host} to version {target.version}")
    builder.update_status(stable=target)
    add_to_history(builder, target, Outcome.PROMOTED, "first deployment")
    enter_stage(builder, Stage.IDLE)
    builder.add_event("Deployed", f"version {target.version} serves {builder.spec.traffic.host}")
    return builder.build("Deployed", f"version {target.version} serves all traffic")


def _wait_for_pods(builder: DecisionBuilder) -> Decision:
    target, replicas = builder.observation.target, full_capacity(builder)
    observed = builder.observation.workloads.get(target.revision)
    ready, why = (observed.ready, observed.crash_message or observed.waiting_reason) if observed else (0, "")
    waited = seconds_since(builder.status.rollout.waiting_since, builder.now)
    text = f"{ready} of {replicas} pods of version {target.version} are ready" + (f": {why}" if why else "")
    if waited > seconds_of(builder.spec.rollout.ready_timeout):
        return builder.build(
            "ReadyTimeout", f"{text}; waited {format_duration(waited)}. Fix the version and apply it again"
        )
    if observed and observed.crash_message:
        return builder.build("Crashing", text)
    return builder.build("WaitingForPods", text)
