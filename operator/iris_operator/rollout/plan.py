"""The vocabulary that the stages share: steps, capacity, and a decision under construction."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from iris_operator.api.durations import parse_duration
from iris_operator.api.spec import ReleaseSpec, Step
from iris_operator.api.status import HistoryEntry, Outcome, ReleaseStatus, RevisionRef, RolloutStatus, Stage
from iris_operator.rollout.decision import Action, Decision, Notice
from iris_operator.rollout.observation import Observation

# Percent; promotion begins when the canary has them all.
ALL_TRAFFIC = 100

# Seconds between the router's object and the last request on the old way: Traefik needed 0.6 s, a keep-alive
# connection one answer more.
DRAIN_SECONDS = 3.0
# While something is awaited and no event tells of it, look again this often.
POLL_SECONDS = 2.0
# An idle release is looked at this often even when no event came (a dropped watch event must not last).
RESYNC_SECONDS = 300.0


def steps_of(spec: ReleaseSpec) -> list[Step]:
    """The steps with the last one at 100: promotion needs all of the traffic on the canary."""
    steps = list(spec.rollout.steps)
    return steps if steps[-1].weight == ALL_TRAFFIC else [*steps, Step(weight=ALL_TRAFFIC)]


def capacity(replicas: int, weight: int) -> int:
    """Pods that carry `weight` percent of what `replicas` pods carry; never none."""
    return max(1, math.ceil(replicas * weight / 100))


def load_of(step: Step) -> int:
    """Percent of the requests that reach the canary in a step, copies or not: what its pods have to carry."""
    return step.shadow or step.weight


def seconds_since(moment: datetime | None, now: datetime) -> float:
    """Seconds that passed; 0 when it has not begun, or when the clock was set back."""
    return max(0.0, (now - moment).total_seconds()) if moment else 0.0


def limit_of(text: str) -> float:
    """Seconds of a duration in the spec."""
    return parse_duration(text)


class Plan:
    """A decision under construction: stages add to it and finish it with a reason."""

    def __init__(self, observation: Observation, now: datetime) -> None:
        self.o = observation
        self.now = now
        self.status: ReleaseStatus = observation.status
        self.actions: list[Action] = []
        self.notices: list[Notice] = []
        self._wake: list[float] = [RESYNC_SECONDS]

    def update(self, **fields: Any) -> None:
        """Change fields of the next status."""
        self.status = self.status.model_copy(update=fields)

    def rollout(self, **fields: Any) -> None:
        """Change fields of the next status's durable state."""
        self.update(rollout=self.status.rollout.model_copy(update=fields))

    def act(self, action: Action) -> None:
        """Ask for an action; they run in this order, and stop at the first that fails."""
        self.actions.append(action)

    def tell(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Tell a person."""
        self.notices.append(Notice(reason, message, warning))

    def wake(self, seconds: float) -> None:
        """Look again no later than in so many seconds."""
        self._wake.append(max(0.0, seconds))

    def done(self, reason: str, message: str = "", *, deleted: bool = False) -> Decision:
        """The decision; `reason` is one CamelCase word, `message` the sentence for a person."""
        self.rollout(reason=reason, message=message)
        return Decision(
            status=self.status,
            reason=f"{reason}: {message}" if message else reason,
            actions=tuple(self.actions),
            notices=tuple(self.notices),
            wake_after=min(self._wake),
            deleted=deleted,
        )


def remember(plan: Plan, ref: RevisionRef, outcome: Outcome, reason: str) -> None:
    """Put an ended turn on top of the history."""
    entry = HistoryEntry(
        revision=ref.revision,
        version=ref.version,
        image=ref.image,
        outcome=outcome,
        reason=reason,
        started_at=plan.status.rollout.started_at,
        finished_at=plan.now,
    )
    plan.update(history=[entry, *plan.status.history][: max(1, plan.o.spec.rollout.history_limit) * 2])


def enter(plan: Plan, stage: Stage) -> None:
    """Go to a stage with its clocks unset; the observed retry is no clock."""
    retry = plan.status.rollout.observed_retry
    kept = {"started_at": plan.status.rollout.started_at} if stage is not Stage.IDLE else {}
    plan.update(rollout=RolloutStatus(stage=stage, observed_retry=retry, **kept))
    plan.wake(0)
