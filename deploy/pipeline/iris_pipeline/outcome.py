"""The outcome of a requested release, read from the resource's current state. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from iris_demo import judge
from iris_demo.kube import Object
from iris_demo.observations import Release, release_of


class State(StrEnum):
    """How a wait can end; only `PENDING` goes on."""

    PENDING = "Pending"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    FAILED = "Failed"
    SUPERSEDED = "Superseded"
    DELETED = "Deleted"
    UNDECIDED = "Undecided"


@dataclass(frozen=True)
class DesiredModel:
    """The model that the release should serve."""

    version: str
    image: str


@dataclass(frozen=True)
class Outcome:
    """The state, and the reason as text."""

    state: State
    reason: str

    @property
    def decided(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.state is not State.PENDING


def desired_model(resource: Object) -> DesiredModel:
    """The model in the resource's spec."""
    model = resource["spec"]["model"]
    return DesiredModel(model["version"], model["image"])


def outcome_of(resource: Object | None, desired: DesiredModel) -> Outcome:
    """The outcome for `desired` by the resource's status; None is a resource that does not exist."""
    if resource is None:
        return Outcome(State.DELETED, "the release was deleted")
    current = desired_model(resource)
    if current != desired:
        return Outcome(State.SUPERSEDED, f"version {current.version} ({current.image}) was requested meanwhile")
    release = release_of(resource)
    match judge.outcome_of(release, desired.version):
        case judge.PROMOTED if _stable_image(resource) == desired.image:
            return Outcome(State.PROMOTED, judge.reason_of(release, desired.version))
        case judge.ROLLED_BACK:
            return Outcome(State.ROLLED_BACK, judge.reason_of(release, desired.version))
        case _ if release.is_current and release.stalled:
            return Outcome(State.FAILED, f"a person must act: {release.stalled}")
        case _:
            return Outcome(State.PENDING, _progress(release))


def _stable_image(resource: Object) -> str:
    image: str = (resource["status"].get("stable") or {}).get("image", "")
    return image


def _progress(release: Release) -> str:
    if not release.is_current:
        return "the operator has not seen it yet: does it run, and is this namespace one of IRIS_NAMESPACES?"
    progress = f"{release.phase or 'no phase yet'}, {release.weight} % of the traffic"
    return f"{progress}: {release.promoted_message}" if release.promoted_message else progress
