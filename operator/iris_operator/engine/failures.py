"""What a failure is called in the status, and which failures are told there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from iris_operator.engine.execute import UnknownRevision
from iris_operator.engine.plan import Failure
from iris_operator.engine.ports import Conflict, Forbidden, NameTaken, Refused, ServerError, Unavailable, Unverified
from iris_operator.engine.release import InvalidRelease

CONDITION_REASONS: Final[Mapping[type[Exception], str]] = {
    InvalidRelease: "InvalidSpec",
    Forbidden: "MissingRights",
    NameTaken: "NameTaken",
    Refused: "Refused",
    Unverified: "Unverified",
    UnknownRevision: "UnknownRevision",
    ServerError: "Unavailable",
    Unavailable: "Unavailable",
}


def reason_of(error: Exception) -> str:
    """The reason in the condition Degraded."""
    return CONDITION_REASONS.get(type(error), "InternalError")


def to_tell(failures: Iterable[Failure], *, repeated: bool) -> list[Failure]:
    """Not a conflict, nor what is unavailable for the first time: both are mostly over in a second."""
    brief = Conflict if repeated else (Conflict, Unavailable)
    return [failure for failure in failures if not isinstance(failure.error, brief)]
