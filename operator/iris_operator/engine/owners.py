"""Whose an object is: a release's own, one of a release of the same name that is gone, or somebody else's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from iris_operator.api import names
from iris_operator.engine.ports import Json, OwnedObjects
from iris_operator.engine.release import Release


def own_objects(release: Release, owned: OwnedObjects) -> OwnedObjects:
    """The objects without Deployments that have the release's label and belong to somebody else."""
    return replace(owned, deployments=tuple(item for item in owned.deployments if _is_own(release, item)))


def is_owned(release: Release, item: Json) -> bool:
    """Does the object name this release, by its uid, as its controller, and no former one of its name?

    Not when the release was deleted with `--cascade=orphan`, or restored from a backup, and applied again.
    """
    references = [ref for ref in _references(item) if _names_release(release, ref)]
    return any(ref.get("controller") for ref in references) and {ref.get("uid") for ref in references} == {release.uid}


def former_owners(release: Release, owned: OwnedObjects) -> Mapping[tuple[str, str], Sequence[Json]]:
    """By kind and name of an object: its references to a release of this name with another uid, as its controller.

    There can be one controller: they are given up in the apply that names the release that there is now.
    """
    found: dict[tuple[str, str], Sequence[Json]] = {}
    for each in fields(owned):
        for item in getattr(owned, each.name):
            stale = [ref for ref in _references(item) if _is_former(release, ref)]
            if stale and "kind" in item:
                found[item["kind"], item["metadata"]["name"]] = stale
    return found


def _is_own(release: Release, item: Json) -> bool:
    controller, revision = _controller(item), (item["metadata"].get("labels") or {}).get(names.LABEL_REVISION, "")
    if controller is not None and not _names_release(release, controller):
        return False
    return bool(item["metadata"]["name"] == names.workload_name(release.name, revision))


def _controller(item: Json) -> Mapping[str, Any] | None:
    return next((ref for ref in _references(item) if ref.get("controller")), None)


def _is_former(release: Release, ref: Mapping[str, Any]) -> bool:
    return bool(ref.get("controller")) and _names_release(release, ref) and ref.get("uid") != release.uid


def _names_release(release: Release, ref: Mapping[str, Any]) -> bool:
    group = str(ref.get("apiVersion", "")).partition("/")[0]
    return (group, ref.get("kind"), ref.get("name")) == (names.GROUP, names.KIND, release.name)


def _references(item: Json) -> Sequence[Mapping[str, Any]]:
    return item["metadata"].get("ownerReferences") or []
