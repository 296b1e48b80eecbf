"""What is told of a decision besides its status: events for people, and one line of the log."""

from __future__ import annotations

import logging

from iris_operator.engine.ports import EventRecorder
from iris_operator.engine.release import Release, RevisionInputs
from iris_operator.rollout.decision import Decision

log = logging.getLogger(__name__)


async def record(recorder: EventRecorder, release: Release, decision: Decision) -> None:
    """Record the decision's events, and log it."""
    for event in decision.events:
        await recorder.record(release, event)
    log.log(
        logging.INFO if decision.actions or decision.events or decision.deleted else logging.DEBUG,
        decision.reason,
        extra={
            **log_fields(release.namespace, release.name),
            "phase": decision.status.phase.value,
            "reason": decision.status.rollout.reason,
            "weight": decision.status.weight,
            "step": decision.status.step_text,
            "revision": (
                decision.status.canary or decision.status.stable or RevisionInputs.of(release.spec).ref
            ).revision,
            "actions": [str(action) for action in decision.actions],
        },
    )


def log_fields(namespace: str, name: str) -> dict[str, str]:
    """Which release a line of the log is about."""
    return {"namespace": namespace, "release": name}
