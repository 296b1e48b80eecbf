"""What all stages use: steps, capacity, and a decision under construction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from iris_operator.api.durations import parse_duration
from iris_operator.api.spec import ReleaseSpec, Step
from iris_operator.api.status import HistoryEntry, Outcome, ReleaseStatus, RevisionRef, RolloutStatus, Stage
from iris_operator.rollout.decision import Action, Decision, Event
from iris_operator.rollout.observation import Observation

# Percent; promotion begins when the canary has all of it.
ALL_TRAFFIC = 100

# Seconds between the change of the router's object and the last request on the old route: Traefik needed 0.6 s, a
# keep-alive connection one more response.
DRAIN_SECONDS = 3.0
# The interval of reconciles while something is awaited that causes no watch event.
POLL_SECONDS = 2.0
# The interval of reconciles of an idle release without events, so that a dropped watch event has no lasting effect.
RESYNC_SECONDS = 300.0


def steps_of(spec: ReleaseSpec) -> list[Step]:
    """The steps with the last one at 100: promotion needs all of the traffic on the canary."""
    steps = list(spec.rollout.steps)
    return steps if steps[-1].weight == ALL_TRAFFIC else [*steps, Step(weight=ALL_TRAFFIC)]


def load_percent(step: Step) -> int:
    """Percent of the requests that reach the canary in a step, mirrored or not: the load of its pods."""
    return step.shadow or step.weight


def seconds_since(moment: datetime | None, now: datetime) -> float:
    """Seconds since the moment; 0 when there is none, or when the clock was set back."""
    return max(0.0, (now - moment).total_seconds()) if moment else 0.0


def seconds_of(text: str) -> float:
    """Seconds of a duration in the spec."""
    return parse_duration(text)


class DecisionBuilder:
    """A decision under construction: stages add to it and build it with a reason."""

    def __init__(self, observation: Observation, now: datetime) -> None:
        self.observation = observation
        self.now = now
        self.status: ReleaseStatus = observation.status
        self.actions: list[Action] = []
        self.events: list[Event] = []
        self._requeue_after: list[float] = [RESYNC_SECONDS]

    @property
    def spec(self) -> ReleaseSpec:
        """The release's spec."""
        return self.observation.spec

    def update_status(self, **fields: Any) -> None:
        """Change fields of the next status."""
        self.status = self.status.model_copy(update=fields)

    def update_rollout(self, **fields: Any) -> None:
        """Change fields of the next status's durable state."""
        self.update_status(rollout=self.status.rollout.model_copy(update=fields))

    def add_action(self, action: Action) -> None:
        """Add an action. They run in this order, but those that protect traffic come first (`engine.plan`)."""
        self.actions.append(action)

    def add_event(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Add an event for people."""
        self.events.append(Event(reason, message, warning))

    def requeue_after(self, seconds: float) -> None:
        """Reconcile again after at most so many seconds; the shortest of several wins."""
        self._requeue_after.append(max(0.0, seconds))

    def build(self, reason: str, message: str = "", *, deleted: bool = False) -> Decision:
        """The decision; `reason` is one CamelCase word, `message` a sentence for people."""
        self.update_rollout(reason=reason, message=message)
        return Decision(
            status=self.status,
            reason=f"{reason}: {message}" if message else reason,
            actions=tuple(self.actions),
            events=tuple(self.events),
            requeue_after=min(self._requeue_after),
            deleted=deleted,
        )


def add_to_history(builder: DecisionBuilder, ref: RevisionRef, outcome: Outcome, reason: str) -> None:
    """Put a finished revision on top of the history."""
    entry = HistoryEntry(
        revision=ref.revision,
        version=ref.version,
        image=ref.image,
        outcome=outcome,
        reason=reason,
        started_at=builder.status.rollout.started_at,
        finished_at=builder.now,
    )
    builder.update_status(history=[entry, *builder.status.history][: max(1, builder.spec.rollout.history_limit) * 2])


def enter_stage(builder: DecisionBuilder, stage: Stage) -> None:
    """Enter a stage with its timestamps unset; the observed retry is kept."""
    retry = builder.status.rollout.observed_retry
    started_at = {"started_at": builder.status.rollout.started_at} if stage is not Stage.IDLE else {}
    builder.update_status(rollout=RolloutStatus(stage=stage, observed_retry=retry, **started_at))
    builder.requeue_after(0)
