"""The objects that belong to a release."""

from __future__ import annotations

from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.adapters.kubernetes.owned import OwnedObjectWriter
from iris_operator.api import names
from iris_operator.engine.breakage import breaking_additions
from iris_operator.engine.ports import Json


class ReleaseObjects:
    """Implements `engine.ports.Objects`."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api
        self._writer = OwnedObjectWriter(api, breaking_additions)

    async def apply(self, manifest: Json) -> None:
        """See `Objects.apply`."""
        await self._writer.apply(manifest)

    async def apply_unscaled(self, manifest: Json) -> None:
        """See `Objects.apply_unscaled`.

        A field that its last owner leaves out of an apply is reset to its default, here to one pod. So a second field
        manager takes over the field first, provided that the object has not changed since it was read.
        """
        metadata = manifest["metadata"]
        stored = await self._writer.read(manifest)
        if stored is not None:
            replicas = {
                "apiVersion": manifest["apiVersion"],
                "kind": manifest["kind"],
                "metadata": {
                    "namespace": metadata["namespace"],
                    "name": metadata["name"],
                    "resourceVersion": stored["metadata"]["resourceVersion"],
                },
                "spec": {"replicas": stored["spec"]["replicas"]},
            }
            await self._api.apply(replicas, manager=names.REPLICAS_MANAGER)
        await self._writer.write(manifest, stored)

    async def delete(self, manifest: Json) -> None:
        """See `Objects.delete`."""
        await self._writer.delete(manifest)
