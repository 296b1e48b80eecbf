"""Pods of a canary with traffic that are not ready any more: protect first, judge later.

The traffic goes to stable in the pass that sees it. A running container that goes on failing its readiness probe is the
version's fault, and so is one that crashed (`progressing` asks for that first). Pods that were evicted, deleted or lost
with their node are not: the rollout waits for new ones and begins again, a few times.
"""

from __future__ import annotations

from iris_operator.api.durations import format_duration
from iris_operator.api.status import Outcome, RevisionRef
from iris_operator.rollout.builder import DecisionBuilder, seconds_since
from iris_operator.rollout.control_group import required_pods
from iris_operator.rollout.decision import Decision
from iris_operator.rollout.retreat import retreat
from iris_operator.rollout.rolling_back import begin_rollback, may_withdraw
from iris_operator.rollout.scaling import full_capacity

# So often pods may be lost in one rollout. The next time it ends: what happens again and again may be the version's.
MAX_POD_LOSSES = 3
# In seconds, without traffic: a probe that failed for a moment passes again in less.
PROBE_GRACE_SECONDS = 10.0


def handle_lost_pods(builder: DecisionBuilder, canary: RevisionRef) -> Decision | None:
    """None while the pods that the weight needs are ready, and while only the canary can answer at all."""
    if builder.observation.route.weight > 0:
        missing = _missing_pods(builder, canary)
        return lose_pods(builder, missing) if missing and may_withdraw(builder) else None
    return _judge_probe(builder, canary)


def _missing_pods(builder: DecisionBuilder, canary: RevisionRef) -> str:
    """Which pods the weight needs and which are not ready; empty when all are."""
    observed, rollout = builder.observation.workloads.get(canary.revision), builder.status.rollout
    # A weight that was raised by hand is reset; pods that it would need are not missing.
    weight = min(builder.observation.route.weight, max(1, rollout.confirmed_weight))
    needed = required_pods(full_capacity(builder), weight)
    if rollout.earned_pods:
        # Pods that were requested since then (stable has been scaled up) may still be starting: they are not missing.
        needed = min(needed, rollout.earned_pods)
    if observed and observed.ready >= needed:
        return ""
    ready, why = (observed.ready, observed.probe_failure or observed.waiting_reason) if observed else (0, "")
    message = f"version {canary.version}: {ready} of {needed} pods ready at weight {weight}"
    return f"{message}. {why or ('' if observed else 'its Deployment is gone')}".rstrip(". ")


def lose_pods(builder: DecisionBuilder, missing: str) -> Decision:
    """Withdraw the traffic, and wait for the pods unless that was so too often; `missing` is for people."""
    losses = builder.status.rollout.pod_losses
    if losses >= MAX_POD_LOSSES:
        message = f"{missing}; all traffic had gone to stable for that {losses} times before"
        return begin_rollback(builder, Outcome.ROLLED_BACK, "NotReady", message)
    retreat(builder, pod_losses=losses + 1, unready_since=builder.now)
    message = f"{missing}. All traffic goes to stable until they are"
    builder.add_event("PodsLost", message, warning=True)
    return builder.build("PodsLost", message)


def _judge_probe(builder: DecisionBuilder, canary: RevisionRef) -> Decision | None:
    """After traffic was withdrawn: is a container still failing its probe?"""
    since = builder.status.rollout.unready_since
    if since is None:
        return None
    observed = builder.observation.workloads.get(canary.revision)
    if observed and observed.replicas and observed.ready >= observed.replicas:
        builder.update_rollout(unready_since=None)
        return None
    unready = seconds_since(since, builder.now)
    if observed and observed.probe_failure and unready > PROBE_GRACE_SECONDS:
        message = (
            f"version {canary.version}: {observed.probe_failure}, {format_duration(unready)} after traffic left it"
        )
        return begin_rollback(builder, Outcome.ROLLED_BACK, "NotReady", message)
    return None
