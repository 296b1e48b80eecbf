"""The stored releases: read live, status written against the version that was read."""

from __future__ import annotations

from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.adapters.kubernetes.presence import is_terminating
from iris_operator.engine.kinds import RELEASE
from iris_operator.engine.ports import Json


class ReleaseStore:
    """Implements `engine.ports.Store`."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def read(self, namespace: str, name: str) -> Json | None:
        """See `Store.read`."""
        return await self._api.get(RELEASE.api_version, RELEASE.kind, namespace, name)

    async def is_namespace_terminating(self, namespace: str) -> bool:
        """See `Store.is_namespace_terminating`."""
        return await is_terminating(self._api, namespace)

    async def write_status(self, body: Json, status: Json) -> str:
        """See `Store.write_status`.

        The resource version in the manifest makes the write conditional: of two operators, or after a stale read, only
        one decision is stored.
        """
        metadata = body["metadata"]
        manifest = {
            **RELEASE.type_meta,
            "metadata": {
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "status": status,
        }
        stored = await self._api.apply(manifest, subresource="status")
        return str(stored["metadata"]["resourceVersion"])
