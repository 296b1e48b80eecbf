"""Conditions of a release, for people, `kubectl wait` and the tools that follow kstatus (Helm, Flux, Argo CD)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from iris_operator.api.status import ConditionStatus, ConditionType, ReleaseStatus

# kstatus takes their mere presence for a statement, so they are removed instead of set to False.
_ONLY_WHILE_TRUE = {"Reconciling", "Stalled"}

# Reasons that end only when a person changes something: the spec, a right, the cluster's objects or the status.
_NEEDS_PERSON = {"InvalidSpec", "MissingRights", "NameTaken", "UnknownRevision", "StatusUnreadable", "ReadyTimeout"}
# Reasons that end without one, however long they last.
_OUTAGES = {"Unavailable", "StableUnavailable"}
# Whether any other failure ends by itself is not known; after so many seconds of retries it is not likely.
_RETRIES_SECONDS = 300.0


@dataclass(frozen=True)
class Condition:
    """A condition as a decision wants it; `value` None is Unknown."""

    type: ConditionType
    value: bool | None
    reason: str
    message: str


def unfinished(reason: str, message: str, failing_seconds: float = 0.0) -> Condition:
    """`Stalled` for a reason that needs a person, else `Reconciling`.

    `failing_seconds`: how long reconciles have failed.
    """
    lasting = failing_seconds >= _RETRIES_SECONDS and reason not in _OUTAGES
    return Condition("Stalled" if reason in _NEEDS_PERSON or lasting else "Reconciling", True, reason, message)


def find(status: ReleaseStatus, kind: ConditionType) -> ConditionStatus | None:
    """The condition of that type, None without one."""
    return next((condition for condition in status.conditions if condition.type == kind), None)


def with_conditions(
    status: ReleaseStatus, wanted: Iterable[Condition], generation: int, now: datetime
) -> ReleaseStatus:
    """The status with these conditions; others stay, except those that stand only while they are wanted."""
    before = {condition.type: condition for condition in status.conditions}
    after = {kind: condition for kind, condition in before.items() if kind not in _ONLY_WHILE_TRUE}
    for condition in wanted:
        old = before.get(condition.type)
        value = _value(condition.value)
        after[condition.type] = ConditionStatus(
            type=condition.type,
            status=value,
            reason=condition.reason,
            message=condition.message,
            last_transition_time=old.last_transition_time if old and old.status == value else now,
            observed_generation=generation,
        )
    return status.model_copy(update={"conditions": list(after.values())})


def _value(value: bool | None) -> Literal["True", "False", "Unknown"]:
    if value is None:
        return "Unknown"
    return "True" if value else "False"
