"""How many pods a revision has, and who decides it.

With `serving.autoscaling` the autoscaler decides the number of stable's pods: the operator reads and never writes it.
The operator decides the canary's, a share of stable's, until the canary has all traffic and gets the autoscaler.
"""

from __future__ import annotations

from iris_operator.api.status import RevisionRef, Stage
from iris_operator.rollout.builder import ALL_TRAFFIC, DecisionBuilder
from iris_operator.rollout.decision import ApplyAutoscaler, DeleteAutoscaler


def full_capacity(builder: DecisionBuilder) -> int:
    """The number of pods for all of the traffic: the spec's, or stable's present one under an autoscaler."""
    serving = builder.spec.serving
    if serving.autoscaling is None:
        return serving.replicas
    stable = builder.observation.workloads.get(builder.status.stable.revision) if builder.status.stable else None
    pods = stable.replicas if stable and stable.replicas else serving.replicas
    return min(max(pods, serving.autoscaling.min_replicas), serving.autoscaling.max_replicas)


def replicas_of(builder: DecisionBuilder, ref: RevisionRef, wanted: int) -> int | None:
    """The replicas to write for a revision: `wanted`, or None where the autoscaler decides.

    A revision that is missing, or at 0 where no autoscaler works, starts with `wanted`.
    """
    observed = builder.observation.workloads.get(ref.revision)
    autoscaled = builder.spec.serving.autoscaling is not None and ref in (
        builder.status.stable,
        _autoscaled_revision(builder),
    )
    return None if autoscaled and observed and observed.replicas else wanted


def ensure_autoscaler(builder: DecisionBuilder) -> None:
    """Apply the release's autoscaler to the revision that has the traffic, or delete it when the spec has none.

    During a release it only adds pods: while the canary has a share stable has less load, and must still be able to
    serve all traffic again at once.
    """
    observed, target = builder.observation.autoscaler, _autoscaled_revision(builder)
    if builder.spec.serving.autoscaling is None or target is None:
        if observed:
            builder.add_action(DeleteAutoscaler())
        return
    shrinks = builder.status.canary is None
    if observed and observed.intact and (observed.revision, observed.scale_down_allowed) == (target.revision, shrinks):
        return
    if observed and not observed.intact:
        builder.add_event("AutoscalerRepaired", "the autoscaler did not match the release; applied again")
    builder.add_action(ApplyAutoscaler(target.revision, shrinks))


def _autoscaled_revision(builder: DecisionBuilder) -> RevisionRef | None:
    """The revision whose load follows the traffic."""
    rollout, canary = builder.status.rollout, builder.status.canary
    all_on_canary = rollout.stage is Stage.PROGRESSING and rollout.confirmed_weight == ALL_TRAFFIC
    return canary if canary and (all_on_canary or rollout.stage is Stage.PROMOTING) else builder.status.stable
