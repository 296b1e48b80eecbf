"""What a reconcile observed of a release, for the metrics. Nothing is decided from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from iris_operator.api import names
from iris_operator.api.status import ReleaseStatus
from iris_operator.engine.pods import restart_count
from iris_operator.engine.ports import OwnedObjects
from iris_operator.rollout.observation import Workload


@dataclass(frozen=True)
class PodRestarts:
    """How often the containers of one pod were restarted."""

    revision: str
    count: int


@dataclass(frozen=True)
class Snapshot:
    """The status after the reconcile, the revisions that it found, and the restarts of each pod by its uid.

    `workloads` is None for a reconcile that failed before it observed them.
    """

    status: ReleaseStatus
    workloads: Collection[Workload] | None = None
    restarts: Mapping[str, PodRestarts] = field(default_factory=dict)


def take_snapshot(status: ReleaseStatus, workloads: Collection[Workload], owned: OwnedObjects) -> Snapshot:
    """The snapshot of a reconcile that read these objects."""
    restarts = {
        pod["metadata"]["uid"]: PodRestarts(
            (pod["metadata"].get("labels") or {}).get(names.LABEL_REVISION, ""), restart_count(pod)
        )
        for pod in owned.pods
        if "uid" in pod["metadata"]
    }
    return Snapshot(status, tuple(workloads), restarts)
