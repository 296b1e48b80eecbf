"""How many pods, and who says so.

With `serving.autoscaling` the number of stable's pods is the autoscaler's: the operator reads it and never writes it.
The canary's is the operator's, a share of stable's, until the canary carries everything and gets the autoscaler.
"""

from __future__ import annotations

from iris_operator.api.status import RevisionRef, Stage
from iris_operator.rollout.decision import Autoscale, StopAutoscaling
from iris_operator.rollout.plan import ALL_TRAFFIC, Plan


def pods_for_all(plan: Plan) -> int:
    """Pods that carry all of the traffic: what the spec says, or what the autoscaler made of stable."""
    serving = plan.o.spec.serving
    if serving.autoscaling is None:
        return serving.replicas
    stable = plan.o.workloads.get(plan.status.stable.revision) if plan.status.stable else None
    pods = stable.replicas if stable and stable.replicas else serving.replicas
    return min(max(pods, serving.autoscaling.min_replicas), serving.autoscaling.max_replicas)


def replicas_of(plan: Plan, ref: RevisionRef, wanted: int) -> int | None:
    """What to write of a revision's number of pods: `wanted`, or None where the autoscaler decides.

    One that is missing, or at 0 where no autoscaler works, begins with `wanted`.
    """
    seen = plan.o.workloads.get(ref.revision)
    theirs = plan.o.spec.serving.autoscaling is not None and ref in (plan.status.stable, _carrier(plan))
    return None if theirs and seen and seen.replicas else wanted


def autoscale(plan: Plan) -> None:
    """Keep the release's autoscaler on the revision that carries the traffic, or remove it when none is asked for.

    During a release it only adds pods: while the canary takes its share stable has less to do, and must all the same be
    able to take everything back at once.
    """
    seen, carrier = plan.o.autoscaler, _carrier(plan)
    if plan.o.spec.serving.autoscaling is None or carrier is None:
        if seen:
            plan.act(StopAutoscaling())
        return
    shrinks = plan.status.canary is None
    if seen and seen.intact and (seen.revision, seen.shrinks) == (carrier.revision, shrinks):
        return
    if seen and not seen.intact:
        plan.tell("AutoscalerRepaired", "the autoscaler did not say what the release asks for; applied again")
    plan.act(Autoscale(carrier.revision, shrinks))


def _carrier(plan: Plan) -> RevisionRef | None:
    """Whose pods are as busy as the traffic makes them."""
    rollout, canary = plan.status.rollout, plan.status.canary
    all_on_canary = rollout.stage is Stage.PROGRESSING and rollout.confirmed_weight == ALL_TRAFFIC
    return canary if canary and (all_on_canary or rollout.stage is Stage.PROMOTING) else plan.status.stable
