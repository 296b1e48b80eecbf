"""What a pass saw of a release, for whoever measures it. Nothing is decided from this."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from iris_operator.api import names
from iris_operator.api.status import ReleaseStatus
from iris_operator.engine.pods import restarts_of
from iris_operator.engine.ports import Children
from iris_operator.rollout.observation import Workload


@dataclass(frozen=True)
class PodRestarts:
    """How often the containers of one pod were started again."""

    revision: str
    count: int


@dataclass(frozen=True)
class Sighting:
    """The status that the pass left behind, the revisions that it found, and the restarts of each pod by its uid.

    `workloads` is None for a pass that did not get as far as to look.
    """

    status: ReleaseStatus
    workloads: Collection[Workload] | None = None
    restarts: Mapping[str, PodRestarts] = field(default_factory=dict)


def sight(status: ReleaseStatus, workloads: Collection[Workload], children: Children) -> Sighting:
    """The sighting of a pass that read these objects."""
    restarts = {
        pod["metadata"]["uid"]: PodRestarts(
            (pod["metadata"].get("labels") or {}).get(names.LABEL_REVISION, ""), restarts_of(pod)
        )
        for pod in children.pods
        if "uid" in pod["metadata"]
    }
    return Sighting(status, tuple(workloads), restarts)
