"""A status that cannot be read where it is needed: nothing moves, but for a weight that goes down."""

from __future__ import annotations

from iris_operator.rollout.builder import POLL_SECONDS, DecisionBuilder
from iris_operator.rollout.decision import Decision, SetWeight
from iris_operator.rollout.report import degraded

UNREADABLE = "StatusUnreadable"
# A corrected status causes no watch event that counts.
_RETRY_SECONDS = 5.0


def await_correction(builder: DecisionBuilder) -> Decision:
    """Wait until it can be read. What is stored stays; a canary whose pods fail loses its share."""
    observation = builder.observation
    message = f"{'; '.join(observation.unreadable)}. Nothing is changed until it is corrected"
    if _canary_fails(builder):
        builder.add_action(SetWeight(0))
        builder.add_event(
            UNREADABLE,
            "the canary's pods fail: all traffic goes to stable",
            warning=True,
        )
    said = any(each.type == "Degraded" and each.message == message for each in observation.status.conditions)
    if not said:
        builder.add_event(UNREADABLE, message, warning=True)
    stable = observation.workloads.get(observation.status.stable.revision) if observation.status.stable else None
    pods = stable.ready if stable else None
    return Decision(
        status=degraded(observation.status, observation.generation, UNREADABLE, message, builder.now, pods),
        reason=f"{UNREADABLE}: {message}",
        actions=tuple(builder.actions),
        events=tuple(builder.events),
        requeue_after=POLL_SECONDS if observation.route.weight else _RETRY_SECONDS,
    )


def _canary_fails(builder: DecisionBuilder) -> bool:
    """Has the canary Service, which gets a share, no healthy pods, while the stable Service has some of its own?"""
    stable, canary = builder.observation.stable, builder.observation.canary
    if builder.observation.route.weight == 0 or stable.selects == canary.selects:
        return False
    found = builder.observation.workloads.get(canary.selects or "")
    fails = found is None or bool(found.crash_message) or not canary.serves(found.ref.revision)
    return fails and stable.serves(stable.selects or "") > 0
