"""What all stages use: steps, capacity, and a decision under construction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from iris_operator.api.durations import parse_duration
from iris_operator.api.spec import ReleaseSpec, Step
from iris_operator.api.status import HistoryEntry, Outcome, ReleaseStatus, RevisionRef, RolloutStatus, Stage
from iris_operator.rollout.decision import Action, Decision, Event
from iris_operator.rollout.observation import Observation

# Of the durable state: what every stage keeps, and what those of a rollout keep.
_KEPT = ("observed_retry", "answered", "held", "seen_at")
_KEPT_IN_ROLLOUT = ("started_at", "attempt", "shortcut", "approval_asked", "approved", "pod_losses", "retreats")

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
        self.problems: list[tuple[str, str]] = []
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

    def add_problem(self, reason: str, message: str) -> None:
        """Say in the condition Degraded what a person has to mend, while the release goes on without it."""
        self.problems.append((reason, message))

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
        attempt=builder.status.rollout.attempt,
    )
    builder.update_status(history=[entry, *builder.status.history][: max(1, builder.spec.rollout.history_limit) * 2])


def next_attempt(builder: DecisionBuilder, ref: RevisionRef) -> int:
    """The number of the attempt of this revision that begins, as far as the history goes back."""
    return max((entry.attempt for entry in builder.status.history if entry.revision == ref.revision), default=0) + 1


def promoted_lately(builder: DecisionBuilder, ref: RevisionRef) -> bool:
    """Is it among the newest `rollbackWindow` promoted versions beside stable, and did it not fail since?"""
    stable, history = builder.status.stable, builder.status.history
    promoted = [entry.revision for entry in history if entry.outcome is Outcome.PROMOTED]
    others = [revision for revision in dict.fromkeys(promoted) if not stable or revision != stable.revision]
    newest = next((entry.outcome for entry in history if entry.revision == ref.revision), None)
    in_window = ref.revision in others[: builder.spec.rollout.rollback_window]
    return in_window and newest is not Outcome.ROLLED_BACK


def enter_stage(builder: DecisionBuilder, stage: Stage) -> None:
    """Enter a stage with its timestamps unset. What people asked for is kept, and to its end what the rollout is."""
    kept = _KEPT if stage is Stage.IDLE else (*_KEPT, *_KEPT_IN_ROLLOUT)
    before = {name: getattr(builder.status.rollout, name) for name in kept}
    builder.update_status(rollout=RolloutStatus(stage=stage, **before))
    builder.requeue_after(0)
