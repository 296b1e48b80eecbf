"""What every stage does: manual edits are reverted, and retired revisions are scaled down and deleted."""

from __future__ import annotations

from typing import Literal

from iris_operator.api.status import RevisionRef, Stage
from iris_operator.rollout.builder import DecisionBuilder, seconds_of, seconds_since
from iris_operator.rollout.decision import ApplyWorkload, DeleteWorkload, SelectRevision
from iris_operator.rollout.observation import Workload
from iris_operator.rollout.scaling import replicas_of


def ensure_workload(builder: DecisionBuilder, ref: RevisionRef, role: Literal["stable", "canary"], pods: int) -> bool:
    """Apply the revision's Deployment unless it is as wanted; True when it is.

    It has so many pods, or as many as the autoscaler decides.
    """
    observed, replicas = builder.observation.workloads.get(ref.revision), replicas_of(builder, ref, pods)
    if (
        observed
        and observed.intact
        and observed.role == role
        and observed.retired_at is None
        and _replicas_match(observed, replicas)
    ):
        return True
    if observed and not observed.intact:
        message = f"the Deployment of version {ref.version} (revision {ref.revision}) was changed by somebody else"
        builder.add_event("WorkloadRepaired", f"{message}; applied again", warning=True)
    builder.add_action(ApplyWorkload(ref, role, replicas))
    return False


def _replicas_match(observed: Workload, replicas: int | None) -> bool:
    return not observed.replicas_owned if replicas is None else observed.replicas == replicas


def ensure_service(
    builder: DecisionBuilder, backend: Literal["stable", "canary"], revision: str, *, with_control: bool = False
) -> bool:
    """Let the Service select the revision, alone or with its control group; True when it already does."""
    observed = builder.observation.stable if backend == "stable" else builder.observation.canary
    if (observed.selects, observed.with_control) == (revision, with_control) and observed.intact:
        return True
    builder.add_action(SelectRevision(backend, revision, with_control))
    return False


def scale_down_retired(builder: DecisionBuilder) -> None:
    """Scale down retired revisions after their delay, and delete those beyond the history limit."""
    in_use = {ref.revision for ref in (builder.status.stable, builder.status.canary) if ref}
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


def _scale_down_after_delay(builder: DecisionBuilder, workload: Workload) -> None:
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
