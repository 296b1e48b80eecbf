"""What every stage does: manual edits are reverted, and retired revisions are scaled down and deleted."""

from __future__ import annotations

from typing import Literal

from iris_operator.api import names
from iris_operator.api.status import RevisionRef, Stage
from iris_operator.rollout.builder import POLL_SECONDS, DecisionBuilder, seconds_of, seconds_since
from iris_operator.rollout.decision import ApplyWorkload, DeleteWorkload, SelectRevision, SetWeight
from iris_operator.rollout.observation import Workload
from iris_operator.rollout.scaling import replicas_of


def ensure_workload(builder: DecisionBuilder, ref: RevisionRef, role: Literal["stable", "canary"], pods: int) -> bool:
    """Apply the revision's Deployment unless it is as wanted; True when it is.

    It has so many pods, or as many as the autoscaler decides.
    """
    observed, replicas = builder.observation.workloads.get(ref.revision), replicas_of(builder, ref, pods)
    if observed and not observed.inputs_known:
        leave_alone(builder, observed)
        return True
    if (
        observed
        and observed.intact
        and observed.role == role
        and observed.retired_at is None
        and _replicas_match(observed, replicas)
    ):
        return True
    if observed and observed.owned and not observed.intact:
        message = f"the Deployment of version {ref.version} (revision {ref.revision}) was changed by somebody else"
        builder.add_event("WorkloadRepaired", f"{message}; applied again", warning=True)
    builder.add_action(ApplyWorkload(ref, role, replicas))
    return False


def leave_alone(builder: DecisionBuilder, workload: Workload) -> None:
    """Say that a Deployment is neither scaled nor changed: what to apply is not known."""
    ref = workload.ref
    builder.add_problem(
        "UnknownRevision",
        f"the inputs of revision {ref.revision} (version {ref.version}) cannot be read: the annotation "
        f"{names.ANNOTATION_INPUTS} of its Deployment is missing or was changed. It is left as it is. "
        f"Apply version {ref.version} again, or delete the Deployment when nothing needs it",
    )


def _replicas_match(observed: Workload, replicas: int | None) -> bool:
    return not observed.replicas_owned if replicas is None else observed.replicas == replicas


def ensure_service(
    builder: DecisionBuilder, backend: Literal["stable", "canary"], revision: str, *, with_control: bool = False
) -> bool:
    """Let the Service select the revision, alone or with its control group; True when it already does."""
    observed = builder.observation.stable if backend == "stable" else builder.observation.canary
    if (observed.selects, observed.with_control) == (revision, with_control) and observed.intact:
        return True
    if observed.selects is not None and not observed.intact:
        builder.add_event(
            "ServiceRepaired", f"the {backend} Service was changed by somebody else; applied again", warning=True
        )
    builder.add_action(SelectRevision(backend, revision, with_control))
    return False


def ensure_stable_service(builder: DecisionBuilder, revision: str) -> bool:
    """Let the stable Service select the revision; not while that has no ready pod and what it selects has."""
    backend, observed = builder.observation.stable, builder.observation.workloads.get(revision)
    serves_another = backend.selects != revision and sum(backend.ready.values()) > 0
    if serves_another and (observed is None or not observed.ready):
        message = f"revision {revision} has no ready pod; the stable Service selects {backend.selects}, which serves"
        builder.add_problem("StableUnavailable", message)
        builder.requeue_after(POLL_SECONDS)
        return False
    return ensure_service(builder, "stable", revision)


def scale_down_retired(builder: DecisionBuilder) -> None:
    """Scale down retired revisions after their delay, and delete those beyond the history limit."""
    in_use = {ref.revision for ref in (builder.status.stable, builder.status.canary) if ref} | with_traffic(builder)
    if builder.status.rollout.stage is Stage.ROLLING_BACK:
        in_use.add(builder.observation.target.revision)  # it may replace a canary that has to keep the traffic
    if builder.status.rejected and builder.status.rejected.keeps_pods:
        in_use.add(builder.status.rejected.revision)
    retired = [workload for revision, workload in builder.observation.workloads.items() if revision not in in_use]
    newest_first = sorted(retired, key=lambda workload: workload.retired_at or builder.now, reverse=True)
    for position, workload in enumerate(newest_first):
        if builder.status.watch and workload.ref.revision == builder.status.watch.previous.revision:
            continue  # warm, so that a failure goes back at once
        if position >= builder.spec.rollout.history_limit:
            builder.add_action(DeleteWorkload(workload.ref.revision))
        else:
            _scale_down_after_delay(builder, workload)


def with_traffic(builder: DecisionBuilder) -> set[str]:
    """The revisions that a Service with traffic selects: whatever the status says, they are not scaled down."""
    observation = builder.observation
    backends = (observation.stable, *([observation.canary] if observation.route.weight else []))
    return {backend.selects for backend in backends if backend.selects}


def _scale_down_after_delay(builder: DecisionBuilder, workload: Workload) -> None:
    if not workload.inputs_known:
        if workload.replicas:
            leave_alone(builder, workload)
        return
    if not workload.owned:
        retired_at = min(workload.retired_at or builder.now, builder.now)
        builder.add_action(ApplyWorkload(workload.ref, "retired", workload.replicas, retired_at))
        return
    if workload.role != "retired" or workload.retired_at is None or workload.retired_at > builder.now:
        # An operator that was killed before it wrote the date, or had a clock that was ahead: the delay starts now.
        builder.add_action(ApplyWorkload(workload.ref, "retired", workload.replicas, builder.now))
        builder.requeue_after(0)
        return
    left = seconds_of(builder.spec.rollout.scale_down_delay) - seconds_since(workload.retired_at, builder.now)
    if workload.replicas == 0:
        return
    if left > 0:
        builder.requeue_after(left)
    else:
        builder.add_action(ApplyWorkload(workload.ref, "retired", 0, workload.retired_at))


def repair_route(builder: DecisionBuilder) -> bool:
    """Write the route again with the weight that it has, where it no longer is as it was written; True when it is.

    So a lost or edited route is mended in every stage, and the canary's share stays as it is.
    """
    route = builder.observation.route
    if route.intact:
        return True
    builder.add_event("RouteRepaired", f"the route did not match the release; weight {route.weight} again")
    builder.add_action(SetWeight(route.weight))
    builder.requeue_after(0)
    return False
