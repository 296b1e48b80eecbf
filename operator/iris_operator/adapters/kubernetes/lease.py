"""The operator's Lease: read live, and written against the version that was read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.election import Lease
from iris_operator.engine.kinds import LEASE
from iris_operator.engine.ports import Conflict, Json
from iris_operator.leadership import LeaseChanged


class KubernetesLease:
    """Implements `leadership.LeaseStore`.

    The times in it are for people: those of several machines are never compared.
    """

    def __init__(self, api: KubernetesApi, namespace: str, name: str, now: Callable[[], datetime]) -> None:
        """`api` is not that of the passes: many of them at once must not delay a renewal."""
        self._api = api
        self._namespace = namespace
        self._name = name
        self._now = now
        self._stored: Json = {}

    async def read(self, seconds: float) -> Lease:
        """See `LeaseStore.read`."""
        found = await self._api.get(LEASE.api_version, LEASE.kind, self._namespace, self._name, timeout_seconds=seconds)
        self._stored = found or {}
        return _lease(self._stored)

    async def write(self, lease: Lease, seconds: float) -> Lease:
        """See `LeaseStore.write`."""
        metadata = {**self._stored.get("metadata", {}), "namespace": self._namespace, "name": self._name}
        manifest = {**LEASE.type_meta, "metadata": metadata, "spec": self._spec(lease)}
        try:
            if lease.version:
                metadata["resourceVersion"] = lease.version
                self._stored = await self._api.replace(manifest, timeout_seconds=seconds)
            else:
                self._stored = await self._api.create(manifest, timeout_seconds=seconds)
        except Conflict as error:
            raise LeaseChanged(str(error)) from error
        return _lease(self._stored)

    def _spec(self, lease: Lease) -> dict[str, Any]:
        now = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = self._stored.get("spec") or {}
        spec: dict[str, Any] = {
            "leaseDurationSeconds": round(lease.duration),
            "leaseTransitions": lease.transitions,
            "renewTime": now,
            "acquireTime": before.get("acquireTime", now) if before.get("holderIdentity") == lease.holder else now,
        }
        return {**spec, "holderIdentity": lease.holder} if lease.holder else spec


def _lease(stored: Json) -> Lease:
    spec = stored.get("spec") or {}
    return Lease(
        holder=spec.get("holderIdentity") or "",
        duration=float(spec.get("leaseDurationSeconds") or 0),
        transitions=int(spec.get("leaseTransitions") or 0),
        version=stored.get("metadata", {}).get("resourceVersion", ""),
    )
