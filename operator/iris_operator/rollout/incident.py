"""Trouble of both versions at once: hold, and when it lasts retreat and see whether stable recovers.

A retreat is no failure of the canary: its evidence is kept, and it starts again at the first step.
"""

from __future__ import annotations

from iris_operator.api.durations import format_duration
from iris_operator.api.status import Outcome, StepStatus
from iris_operator.rollout.decision import Decision, SetWeight
from iris_operator.rollout.plan import Plan, limit_of, seconds_since
from iris_operator.rollout.rolling_back import begin_rollback

# So many judgements in a row before the traffic goes back: a short one is sat out.
_PATIENCE = 3


def share_incident(plan: Plan) -> Decision | None:
    """While the canary has a share: remember since when both are in trouble, and retreat to 0 % when they stay in it.

    Until then nothing is to be done: no verdict is a Pass while stable is in trouble.
    """
    judgement, since = plan.o.judgement, plan.status.rollout.incident_since
    if judgement is None or not judgement.counted:
        return None
    if not judgement.incident:
        plan.rollout(incident_since=None)
        return None
    if since is None:
        plan.rollout(incident_since=plan.now)
        plan.tell("SharedIncident", f"{judgement.incident}; nothing is concluded about the canary", warning=True)
        return None
    lasts = seconds_since(since, plan.now) > (_PATIENCE - 1.5) * limit_of(plan.o.spec.rollout.interval)
    return _retreat(plan, judgement.incident) if lasts else None


def recover(plan: Plan) -> Decision | None:
    """After a retreat: no step before stable alone is out of trouble. None when there is nothing to wait for."""
    rollout, lesson = plan.status.rollout, plan.o.lesson
    if rollout.incident_since is None or rollout.step_started_at is not None:
        return None
    if lesson is not None and lesson.counted and not lesson.trouble:
        plan.rollout(incident_since=None, hold_since=None)
        plan.tell("Recovered", "stable is out of trouble; the release goes on with its first step")
        return None
    held = seconds_since(rollout.hold_since, plan.now)
    if held > limit_of(plan.o.spec.rollout.hold_timeout):
        message = f"stable has not recovered for {format_duration(held)} from trouble that both versions had"
        return begin_rollback(plan, Outcome.ROLLED_BACK, "HoldTimeout", message)
    return plan.done("SharedIncident", "all traffic is on stable until it is out of trouble")


def _retreat(plan: Plan, words: str) -> Decision:
    plan.update(step=StepStatus(index=0, count=plan.status.step.count))
    plan.rollout(step_started_at=None, confirmed_weight=0, earned_pods=0, hold_since=plan.now)
    plan.act(SetWeight(0))
    plan.wake(0)
    message = f"{words}; all traffic goes to stable until it recovers, and the canary is not blamed"
    plan.tell("SharedIncident", message, warning=True)
    return plan.done("SharedIncident", message)
