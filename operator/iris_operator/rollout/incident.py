"""An incident of both versions at once: hold, and when it lasts move all traffic to stable until that recovers.

This is no failure of the canary: its evidence is kept, and it starts again at the first step. It has an end: trouble
that comes back with the canary ends the release, and trouble that stays without it becomes what is normal.
"""

from __future__ import annotations

from datetime import datetime

from iris_operator.api.durations import format_duration
from iris_operator.api.status import Outcome, ReleaseStatus, Shortcut
from iris_operator.rollout.builder import DecisionBuilder, seconds_of, seconds_since
from iris_operator.rollout.decision import Decision
from iris_operator.rollout.retreat import retreat
from iris_operator.rollout.rolling_back import begin_rollback

# So many judgements in a row before the traffic moves to stable: a short incident is only held.
_INCIDENT_JUDGEMENTS = 3
# So many intervals in a row without trouble of stable alone before the canary gets a share again.
_CLEAN_BASELINES = 3
# So often the traffic moves to stable. The next time the release ends: what happens only with the canary may be its.
MAX_RETREATS = 3
# The same trouble for so many seconds is how the service is now, and both versions are judged by it.
SHIFT_ACCEPTED_SECONDS = 600.0


def shift_accepted(status: ReleaseStatus, now: datetime) -> bool:
    """Has the trouble of both versions lasted so long that it is the new normal?"""
    return seconds_since(status.rollout.incident_since, now) >= SHIFT_ACCEPTED_SECONDS


def handle_shared_incident(builder: DecisionBuilder) -> Decision | None:
    """While the canary has a share: store since when an incident lasts, and set weight 0 when it persists.

    Until then nothing is to be done: nothing is promoted during an incident. None without a decision.
    """
    judgement, since = builder.observation.judgement, builder.status.rollout.incident_since
    if judgement is None or not judgement.counted or builder.status.rollout.shortcut is not Shortcut.NONE:
        # With a shortcut the canary has the traffic whatever happens: a person asked for it, or stable cannot take it.
        return None
    if not judgement.incident:
        builder.update_rollout(incident_since=None)
        return None
    if since is None:
        builder.update_rollout(incident_since=builder.now)
        builder.add_event(
            "SharedIncident", f"{judgement.incident}; nothing is concluded about the canary", warning=True
        )
        return None
    persists = seconds_since(since, builder.now) > (_INCIDENT_JUDGEMENTS - 1.5) * seconds_of(
        builder.spec.rollout.interval
    )
    if not persists:
        return None
    if builder.status.rollout.retreats >= MAX_RETREATS:
        message = (
            f"{judgement.incident}, again after all traffic had gone to stable {MAX_RETREATS} times and stable had "
            "recovered: it happens when the canary gets traffic"
        )
        return begin_rollback(builder, Outcome.ROLLED_BACK, "SharedIncident", message)
    return _move_traffic_to_stable(builder, judgement.incident)


def await_recovery(builder: DecisionBuilder) -> Decision | None:
    """After a lasting incident: no step before stable alone was well for some intervals in a row.

    None when there is nothing to wait for.
    """
    rollout, baseline = builder.status.rollout, builder.observation.baseline
    if rollout.incident_since is None or rollout.step_started_at is not None:
        return None
    if baseline is not None and baseline.counted:
        builder.update_rollout(clean_baselines=0 if baseline.stable_incident else rollout.clean_baselines + 1)
    if builder.status.rollout.clean_baselines >= _CLEAN_BASELINES:
        builder.update_rollout(incident_since=None, hold_since=None, clean_baselines=0)
        builder.add_event("Recovered", "stable has recovered; the release continues with its first step")
        return None
    held = seconds_since(rollout.hold_since, builder.now)
    if held > seconds_of(builder.spec.rollout.hold_timeout):
        message = f"stable has not recovered for {format_duration(held)} from an incident that both versions had"
        return begin_rollback(builder, Outcome.ROLLED_BACK, "HoldTimeout", message)
    return builder.build("SharedIncident", "all traffic is on stable until it has recovered")


def _move_traffic_to_stable(builder: DecisionBuilder, incident: str) -> Decision:
    retreat(builder, retreats=builder.status.rollout.retreats + 1, clean_baselines=0)
    message = f"{incident}; all traffic goes to stable until it recovers, and nothing is concluded about the canary"
    builder.add_event("SharedIncident", message, warning=True)
    return builder.build("SharedIncident", message)
