"""Times in the status that cannot be right: of a clock that jumped, and of hours in which nobody observed.

The rule: no time is later than now, and time that nobody observed counts for nothing, neither as a stay in a step nor
as a wait that has a timeout. So no jump of the clock and no outage of the operator shortens a step or ends a release.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from iris_operator.api.base import ApiModel
from iris_operator.api.status import ReleaseStatus, Stage

M = TypeVar("M", bound=ApiModel)

# A release in a rollout is judged at least every five seconds, also without metrics. After a longer time than this
# without a judgement the operator was away, or the clock was set.
_UNOBSERVED_SECONDS = 60.0

_ANALYSIS_TIMES = ("judged_at", "judged_through")
_ROLLOUT_TIMES = (
    "started_at",
    "step_started_at",
    "traffic_since",
    "waiting_since",
    "hold_since",
    "incident_since",
    "settled_at",
    "unready_since",
    "stable_down_since",
    "seen_at",
)
# Since when something has lasted that must last for so long, or must not.
_LASTING = ("step_started_at", "waiting_since", "hold_since", "incident_since", "unready_since", "stable_down_since")


def correct_times(status: ReleaseStatus, watch_seconds: float, now: datetime) -> ReleaseStatus:
    """The status with times that can be right; doing it again changes nothing. A watch lasts `watch_seconds`."""
    return _without_unobserved_time(_without_future(status, watch_seconds, now), now)


def _without_future(status: ReleaseStatus, watch_seconds: float, now: datetime) -> ReleaseStatus:
    changes: dict[str, Any] = {"rollout": _until_now(status.rollout, _ROLLOUT_TIMES, now)}
    if status.analysis:
        changes["analysis"] = _until_now(status.analysis, _ANALYSIS_TIMES, now)
    if status.watch:
        watch = _until_now(status.watch, _ANALYSIS_TIMES, now)
        changes["watch"] = _updated(watch, {"until": min(watch.until, now + timedelta(seconds=watch_seconds))})
    return _updated(status, changes)


def _until_now(model: M, fields: tuple[str, ...], now: datetime) -> M:
    times = {name: getattr(model, name) for name in fields}
    return _updated(model, {name: now for name, moment in times.items() if moment is not None and moment > now})


def _without_unobserved_time(status: ReleaseStatus, now: datetime) -> ReleaseStatus:
    rollout, watch = status.rollout, status.watch
    # While a weight is being set nothing is judged.
    judged = rollout.step_started_at is not None or not status.step.index
    if rollout.stage is Stage.PROGRESSING and judged and status.analysis and status.analysis.judged_at:
        last = max(status.analysis.judged_at, rollout.seen_at or status.analysis.judged_at)
        if (gap := _gap(last, now)) is None:
            return status
        times = {name: getattr(rollout, name) for name in _LASTING}
        moved = {name: min(now, moment + gap) for name, moment in times.items() if moment is not None}
        return _updated(status, {"rollout": _updated(rollout, {**moved, "seen_at": now})})
    if rollout.stage is Stage.IDLE and watch and watch.judged_at:
        last = max(watch.judged_at, rollout.seen_at or watch.judged_at)
        if (gap := _gap(last, now)) is not None:
            seen = _updated(rollout, {"seen_at": now})
            return _updated(status, {"watch": _updated(watch, {"until": watch.until + gap}), "rollout": seen})
    return status


def _gap(last: datetime, now: datetime) -> timedelta | None:
    """The time that was not observed; None when there was none."""
    return now - last if (now - last).total_seconds() > _UNOBSERVED_SECONDS else None


def _updated(model: M, changes: Mapping[str, Any]) -> M:
    changed = {name: value for name, value in changes.items() if value != getattr(model, name)}
    return model.model_copy(update=changed) if changed else model
