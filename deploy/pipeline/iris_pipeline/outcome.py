"""What has become of a release that was asked for, read from the resource as it is now. Pure."""

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
    SUPERSEDED = "Superseded"
    DELETED = "Deleted"
    UNDECIDED = "Undecided"


@dataclass(frozen=True)
class Wanted:
    """What the release was asked to serve."""

    version: str
    image: str


@dataclass(frozen=True)
class Outcome:
    """The state, and why, in words."""

    state: State
    reason: str

    @property
    def decided(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.state is not State.PENDING


def wanted_of(resource: Object) -> Wanted:
    """What the resource asks for."""
    model = resource["spec"]["model"]
    return Wanted(model["version"], model["image"])


def outcome_of(resource: Object | None, wanted: Wanted) -> Outcome:
    """What the resource says about `wanted`; None is a resource that does not exist."""
    if resource is None:
        return Outcome(State.DELETED, "the release was deleted")
    asked = wanted_of(resource)
    if asked != wanted:
        return Outcome(State.SUPERSEDED, f"somebody asked for version {asked.version} ({asked.image}) meanwhile")
    release = release_of(resource)
    match judge.outcome_of(release, wanted.version):
        case judge.PROMOTED if _stable_image(resource) == wanted.image:
            return Outcome(State.PROMOTED, judge.reason_of(release, wanted.version))
        case judge.ROLLED_BACK:
            return Outcome(State.ROLLED_BACK, judge.reason_of(release, wanted.version))
        case _:
            return Outcome(State.PENDING, _progress(release))


def _stable_image(resource: Object) -> str:
    image: str = (resource["status"].get("stable") or {}).get("image", "")
    return image


def _progress(release: Release) -> str:
    if not release.current:
        return "the operator has not seen it yet: does it run, and is this namespace one of IRIS_NAMESPACES?"
    where = f"{release.phase or 'no phase yet'}, {release.weight} % of the traffic"
    return f"{where}: {release.promoted_message}" if release.promoted_message else where
