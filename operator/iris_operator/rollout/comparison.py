"""The comparison of a rollout: the pods of both arms, and the route's weight for those behind the canary Service."""

from __future__ import annotations

from collections.abc import Sequence

from iris_operator.api import names
from iris_operator.api.spec import Step
from iris_operator.api.status import ControlStatus, RevisionRef, Shortcut
from iris_operator.rollout.builder import DecisionBuilder
from iris_operator.rollout.control_group import ArmPods, arm_pods, required_pods, route_weight
from iris_operator.rollout.decision import ApplyControlGroup, DeleteWorkload
from iris_operator.rollout.observation import Workload
from iris_operator.rollout.scaling import full_capacity


def control_of(builder: DecisionBuilder, stable: RevisionRef | None, canary: RevisionRef) -> ControlStatus | None:
    """The control group of a rollout that begins; None where the canary is compared with stable as it is.

    This is decided once: a later change of `analysis.control` is for the next rollout.
    """
    if stable is None or builder.spec.analysis.control != "Pods" or not _inputs_known(builder, stable):
        return None
    revision = names.control_revision(stable.revision, canary.revision)
    return ControlStatus(revision=revision, version=stable.version, image=stable.image)


def _inputs_known(builder: DecisionBuilder, stable: RevisionRef) -> bool:
    observed = builder.observation.workloads.get(stable.revision)
    return observed is None or observed.inputs_known


def following_step(builder: DecisionBuilder, steps: Sequence[Step], index: int) -> Step | None:
    """The step after the one that was begun last; the last of all where steps are left out. None after that one."""
    if index >= len(steps):
        return None
    return steps[index] if builder.status.rollout.shortcut is Shortcut.NONE else steps[-1]


def wanted_pods(builder: DecisionBuilder, steps: Sequence[Step], index: int) -> ArmPods:
    """The pods of both arms in the step that was begun last: enough for it and for the next one.

    So pods are ready before a weight rises, and none are removed before it has risen.
    """
    begun = steps[index - 1 : index] if index else ()
    following = following_step(builder, steps, index)
    sizes = [step_pods(full_capacity(builder), step) for step in (*begun, *([following] if following else []))]
    control = max(pods.control for pods in sizes) if builder.status.control else 0
    return ArmPods(max(pods.canary for pods in sizes), control)


def step_pods(replicas: int, step: Step) -> ArmPods:
    """The pods of both arms for one step, of a release with `replicas` pods for all of the traffic.

    In a shadow step each arm gets all of the mirrored requests, so that it needs as many pods as the other.
    """
    if step.shadow:
        pods = required_pods(replicas, step.shadow)
        return ArmPods(pods, pods)
    return arm_pods(replicas, step.weight)


def serving_pods(builder: DecisionBuilder) -> ArmPods:
    """The ready endpoints of both arms behind the canary Service."""
    canary, control, backend = builder.status.canary, builder.status.control, builder.observation.canary
    return ArmPods(
        backend.serves(canary.revision) if canary else 0,
        backend.ready.get(control.revision, 0) if control and backend.with_control else 0,
    )


def weight_for_share(builder: DecisionBuilder, share: int, wanted: ArmPods) -> int:
    """The route's weight, in percent, with which the canary gets at most `share` percent of the requests.

    Also when canary pods that are still starting become ready, and when control pods that are too many are removed.
    """
    canary, serving = builder.status.canary, serving_pods(builder)
    observed = builder.observation.workloads.get(canary.revision) if canary else None
    most = max(serving.canary, wanted.canary, observed.replicas if observed else 0)
    return route_weight(share, ArmPods(most, min(serving.control, wanted.control)))


def control_workload(builder: DecisionBuilder) -> Workload | None:
    """The Deployment of this rollout's control group."""
    control = builder.status.control
    return builder.observation.control_groups.get(control.revision) if control else None


def ensure_control_group(builder: DecisionBuilder, pods: int) -> bool:
    """Apply the control group's Deployment unless it is as wanted, and delete those of earlier rollouts.

    False when it was changed by somebody else, so that its measurements are no evidence.
    """
    control, stable, canary = builder.status.control, builder.status.stable, builder.status.canary
    delete_control_groups(builder, but=control.revision if control else "")
    if control is None or stable is None or canary is None:
        return True
    observed = control_workload(builder)
    builder.update_status(control=control.model_copy(update={"pods": pods}))
    if (observed and observed.intact and observed.replicas == pods) or not _inputs_known(builder, stable):
        return True
    if observed and not observed.intact:
        builder.add_event(
            "WorkloadRepaired",
            "the Deployment of the control group was changed by somebody else; applied again",
            warning=True,
        )
    builder.add_action(ApplyControlGroup(stable, canary, pods))
    return observed is None or observed.intact


def delete_control_groups(builder: DecisionBuilder, but: str = "") -> bool:
    """Delete all control groups but one: fresh pods are compared with fresh pods. True when there are any to delete."""
    found = [revision for revision in builder.observation.control_groups if revision != but]
    for revision in found:
        builder.add_action(DeleteWorkload(revision))
    return bool(found)
