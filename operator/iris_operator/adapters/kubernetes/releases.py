"""The stored releases: read live, status written against the version that was read."""

from __future__ import annotations

from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.api import names
from iris_operator.engine.ports import Json


class Releases:
    """Implements `engine.ports.Store`."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def read(self, namespace: str, name: str) -> Json | None:
        """See `Store.read`."""
        return await self._api.get(names.API_VERSION, names.KIND, namespace, name)

    async def write_status(self, body: Json, status: Json) -> str:
        """See `Store.write_status`.

        The resource version in the manifest makes the write conditional: that is what keeps two operators, or a stale
        read, from deciding twice.
        """
        metadata = body["metadata"]
        manifest = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "status": status,
        }
        stored = await self._api.apply(manifest, subresource="status")
        return str(stored["metadata"]["resourceVersion"])
