"""Whose object is it? One that is not the release's own is never written, adopted or deleted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from iris_operator.api import names
from iris_operator.engine.kinds import RELEASE
from iris_operator.engine.ports import Json, NameTaken, OwnedObjects
from iris_operator.engine.release import Release

_MANAGED_BY = "app.kubernetes.io/managed-by"


def own_metadata(release: Release, name: str) -> dict[str, Any]:
    """The metadata of an object of the release, by which it is known as the release's own."""
    return {
        "name": name,
        "namespace": release.namespace,
        "labels": release.labels,
        "ownerReferences": [release.owner],
    }


def require_own(stored: Json, manifest: Json) -> None:
    """Return when the stored object belongs to the release of the manifest, by its label and its owner reference.

    Raises:
        NameTaken: it belongs to somebody else; the message names kind, name and owner.
    """
    metadata = manifest["metadata"]
    release, (owner, *_) = metadata["labels"][names.LABEL_RELEASE], metadata["ownerReferences"]
    other = other_owner(stored, release, owner["uid"])
    if other is not None:
        raise NameTaken(
            f"{manifest['kind']} {metadata['name']} exists and belongs to {other}, not to release {release}: it is "
            f"left as it is. Delete or rename it, or give the release another name"
        )


def other_owner(stored: Json, release: str, uid: str) -> str | None:
    """Who else the object belongs to, for people; None when it is this release's own.

    Own is what the release controls. Own is also what carries its label and was left by a release of the same name
    that is gone (deleted with `--cascade=orphan`, or restored from a backup): by a reference to it, or, where nothing
    controls it, by the fields that the operator has applied.
    """
    metadata = stored["metadata"]
    references: Collection[Json] = metadata.get("ownerReferences") or ()
    controller = next((each for each in references if each.get("controller")), None)
    if controller and controller["uid"] == uid:
        return None
    labels = metadata.get("labels") or {}
    if labels.get(names.LABEL_RELEASE) == release:
        if controller is None and names.FIELD_MANAGER in _managers(metadata):
            return None
        if any(_is_release(each, release) for each in ([controller] if controller else references)):
            return None
    return _describe_owner(metadata, controller, release)


def own_objects(release: Release, owned: OwnedObjects) -> OwnedObjects:
    """Those of the objects with the release's label that are its own. Pods and endpoints follow from the others."""

    def has_its_name(item: Json) -> bool:
        revision = (item["metadata"].get("labels") or {}).get(names.LABEL_REVISION, "")
        return bool(item["metadata"]["name"] == names.workload_name(release.name, revision))

    def own(items: Iterable[Json]) -> tuple[Json, ...]:
        return tuple(item for item in items if other_owner(item, release.name, release.uid) is None)

    return replace(
        owned,
        # A copy carries the labels, and is named otherwise.
        deployments=tuple(item for item in own(owned.deployments) if has_its_name(item)),
        services=own(owned.services),
        autoscalers=own(owned.autoscalers),
        disruption_budgets=own(owned.disruption_budgets),
        config_maps=own(owned.config_maps),
    )


def is_owned(release: Release, item: Json) -> bool:
    """Does the object name this release, by its uid, as its controller, and no former one of its name?

    Not when the release was deleted with `--cascade=orphan`, or restored from a backup, and applied again.
    """
    references: Collection[Json] = item["metadata"].get("ownerReferences") or ()
    own = [each for each in references if _is_release(each, release.name)]
    return any(each.get("controller") for each in own) and {each.get("uid") for each in own} == {release.uid}


def stale_references(stored: Json, manifest: Json) -> list[Json] | None:
    """The owner references without those to releases of this name that are gone; None when there are none of them.

    The garbage collector deletes what refers to no owner that exists, and an object has at most one controller.
    """
    (owner, *_) = manifest["metadata"]["ownerReferences"]
    references: Collection[Json] = stored["metadata"].get("ownerReferences") or ()
    kept = [each for each in references if each["uid"] == owner["uid"] or not _is_release(each, owner["name"])]
    if len(kept) == len(references):
        return None
    return kept if any(each["uid"] == owner["uid"] for each in kept) else [owner, *kept]


def _is_release(reference: Json, name: str) -> bool:
    """Does an owner reference lead to a release of this name, whatever its uid?"""
    group = str(reference.get("apiVersion", "")).partition("/")[0]
    return (group, reference.get("kind"), reference.get("name")) == (RELEASE.group, RELEASE.kind, name)


def _managers(metadata: Json) -> list[str]:
    entries: Collection[Json] = metadata.get("managedFields") or ()
    return list(dict.fromkeys(str(entry["manager"]) for entry in entries if not entry.get("subresource")))


def _describe_owner(metadata: Json, controller: Json | None, release: str) -> str:
    if controller is not None:
        return f"{controller.get('kind', '')} {controller.get('name', '')}"
    labels: Mapping[str, Any] = metadata.get("labels") or {}
    other = labels.get(names.LABEL_RELEASE)
    if other and other != release:
        return f"release {other}"
    managed_by = labels.get(_MANAGED_BY)
    if managed_by and managed_by != names.FIELD_MANAGER:
        return str(managed_by)
    managers = [each for each in _managers(metadata) if each != names.FIELD_MANAGER]
    return f"somebody else (written by {', '.join(managers)})" if managers else "somebody else"
