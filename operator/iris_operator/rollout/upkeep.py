"""What holds in every stage: edits by hand are put right, retired revisions cool down and leave."""

from __future__ import annotations

from typing import Literal

from iris_operator.api.status import RevisionRef
from iris_operator.rollout.decision import ApplyWorkload, DeleteWorkload, PointService
from iris_operator.rollout.observation import Workload
from iris_operator.rollout.plan import Plan, limit_of, seconds_since
from iris_operator.rollout.scaling import replicas_of


def keep_workload(plan: Plan, ref: RevisionRef, role: Literal["stable", "canary"], pods: int) -> bool:
    """Ask for the revision's Deployment to be so, with so many pods unless an autoscaler decides; True when it is."""
    seen, replicas = plan.o.workloads.get(ref.revision), replicas_of(plan, ref, pods)
    if seen and seen.intact and seen.role == role and seen.retired_at is None and _has(seen, replicas):
        return True
    if seen and not seen.intact:
        message = f"the Deployment of version {ref.version} (revision {ref.revision}) was changed by somebody else"
        plan.tell("WorkloadRepaired", f"{message}; applied again", warning=True)
    plan.act(ApplyWorkload(ref, role, replicas))
    return False


def _has(seen: Workload, replicas: int | None) -> bool:
    return not seen.scaled_by_us if replicas is None else seen.replicas == replicas


def keep_service(plan: Plan, backend: Literal["stable", "canary"], revision: str) -> bool:
    """Ask for the Service to select the revision; True when it already does."""
    seen = plan.o.stable if backend == "stable" else plan.o.canary
    if seen.selects == revision and seen.intact:
        return True
    plan.act(PointService(backend, revision))
    return False


def retire(plan: Plan) -> None:
    """Scale down revisions whose time is over, and delete those beyond the history limit."""
    kept = {ref.revision for ref in (plan.status.stable, plan.status.canary) if ref}
    if plan.status.rejected and plan.status.rejected.keeps_pods:
        kept.add(plan.status.rejected.revision)
    retired = [workload for revision, workload in plan.o.workloads.items() if revision not in kept]
    newest_first = sorted(retired, key=lambda workload: workload.retired_at or plan.now, reverse=True)
    for position, workload in enumerate(newest_first):
        if position >= plan.o.spec.rollout.history_limit:
            plan.act(DeleteWorkload(workload.ref.revision))
        else:
            _cool_down(plan, workload)


def _cool_down(plan: Plan, workload: Workload) -> None:
    if workload.role != "retired" or workload.retired_at is None:
        # Left by an operator that was killed before it wrote the date: the delay starts now.
        plan.act(ApplyWorkload(workload.ref, "retired", workload.replicas, plan.now))
        plan.wake(0)
        return
    left = limit_of(plan.o.spec.rollout.scale_down_delay) - seconds_since(workload.retired_at, plan.now)
    if workload.replicas == 0:
        return
    if left > 0:
        plan.wake(left)
    else:
        plan.act(ApplyWorkload(workload.ref, "retired", 0, workload.retired_at))
