"""The objects that belong to a release."""

from __future__ import annotations

from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.engine.ports import Json


class ReleaseObjects:
    """Implements `engine.ports.Objects`."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def apply(self, manifest: Json) -> None:
        """See `Objects.apply`."""
        await self._api.apply(manifest)

    async def delete(self, manifest: Json) -> None:
        """See `Objects.delete`."""
        await self._api.delete(manifest)
