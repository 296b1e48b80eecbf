"""Writes to objects that belong to a release, and to no others.

Server-side apply with force would overwrite an object of somebody else without a word, so every write looks at the
stored object first, and holds only for the one that was looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.engine.ownership import require_own, stale_references
from iris_operator.engine.ports import Json

BreakingAdditions = Callable[[Json, Json], dict[str, Any]]
"""From a stored object and its manifest to a merge patch of what others added and must go; empty without any."""


class OwnedObjectWriter:
    """Reads, applies and deletes. The manifests have the release's label and, first, its owner reference."""

    def __init__(self, api: KubernetesApi, breaking_additions: BreakingAdditions) -> None:
        self._api = api
        self._breaking_additions = breaking_additions

    async def read(self, manifest: Json) -> Json | None:
        """The stored object of this kind and name; None when there is none.

        Raises:
            NameTaken: it belongs to somebody else.
        """
        metadata = manifest["metadata"]
        stored = await self._api.get(manifest["apiVersion"], manifest["kind"], metadata["namespace"], metadata["name"])
        if stored is not None:
            require_own(stored, manifest)
        return stored

    async def apply(self, manifest: Json) -> None:
        """Read it, and write it.

        Raises:
            Conflict, NameTaken: as `write` and `read`.
        """
        await self.write(manifest, await self.read(manifest))

    async def write(self, manifest: Json, stored: Json | None) -> None:
        """Apply the manifest to the object that was read, or create it.

        Raises:
            Conflict: it is not the object that was read; or there is one now, and there was none.
        """
        if stored is None:
            # Without force, nothing happens to an object that somebody else creates in this moment.
            await self._api.apply_new(manifest)
            return
        changes = self._breaking_additions(stored, manifest)
        references = stale_references(stored, manifest)
        if references is not None:
            changes = {**changes, "metadata": {**changes.get("metadata", {}), "ownerReferences": references}}
        if changes:
            await self._api.merge_patch(manifest, of_stored(changes, stored))
        await self._api.apply(of_stored(manifest, stored))

    async def delete(self, manifest: Json) -> None:
        """Delete it; one that is gone already is fine.

        Raises:
            NameTaken: it belongs to somebody else.
        """
        stored = await self.read(manifest)
        if stored is not None:
            await self._api.delete(manifest, uid=stored["metadata"].get("uid", ""))


def of_stored(manifest: Json, stored: Json) -> Json:
    """The manifest for this object alone, and not for one that was created under its name since."""
    uid = stored["metadata"].get("uid")
    return {**manifest, "metadata": {**manifest.get("metadata", {}), "uid": uid}} if uid else manifest
