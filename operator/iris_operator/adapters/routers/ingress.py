"""Traffic split by two Ingresses: the primary routes to stable, the second, annotated as its canary, to the canary.

The annotations are those of ingress-nginx, which Traefik's ingress-nginx provider supports too.
"""

from __future__ import annotations

from typing import Any

from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.adapters.kubernetes.owned import OwnedObjectWriter, of_stored
from iris_operator.api import names
from iris_operator.engine.drift import is_current
from iris_operator.engine.kinds import ReconcileOn, WatchedKind
from iris_operator.engine.ownership import other_owner
from iris_operator.engine.ports import Json, Unverified
from iris_operator.engine.release import Release
from iris_operator.rollout.observation import Route

INGRESS = WatchedKind(
    group="networking.k8s.io",
    version="v1",
    kind="Ingress",
    plural="ingresses",
    verbs=("get", "list", "watch", "create", "patch"),
    reconcile_on=ReconcileOn.ANY_EVENT,
)
CANARY = "nginx.ingress.kubernetes.io/canary"
CANARY_WEIGHT = "nginx.ingress.kubernetes.io/canary-weight"


class IngressRouter:
    """Implements `engine.ports.Router`."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api
        self._writer = OwnedObjectWriter(api, _breaking_additions)

    async def read(self, release: Release) -> Route:
        """See `Router.read`. An Ingress of somebody else is no part of the route."""
        primary = await self._get(release, release.name)
        canary = await self._get(release, names.canary_service(release.name))
        weight = weight_of(canary)
        intact = _is_intact(primary, primary_ingress(release)) and (
            canary is None or _is_intact(canary, canary_ingress(release, weight))
        )
        return Route(exists=primary is not None, weight=weight, intact=intact)

    async def set_weight(self, release: Release, weight: int) -> None:
        """See `Router.set_weight`. A lower weight comes first, and alone: what else is refused does not stop it."""
        canary = canary_ingress(release, weight)
        stored = await self._lower(release, canary, weight)
        if not release.deleting:
            primary = primary_ingress(release)
            stored_primary = await self._writer.read(primary)
            if not _is_intact(stored_primary, primary):
                await self._writer.write(primary, stored_primary)
            # Somebody else's is read here, and nothing is written.
            stored = await self._writer.read(canary) if stored is None else stored
            if weight > 0 or stored is not None:
                await self._writer.write(canary, stored)
        route = await self.read(release)
        if (not route.exists and not release.deleting) or route.weight != weight:
            raise Unverified(
                f"Ingress {release.namespace}/{names.canary_service(release.name)} reads back weight {route.weight} "
                f"after {weight} was written: another controller or an admission webhook changes it"
            )

    async def _lower(self, release: Release, canary: Json, weight: int) -> Json | None:
        """Lower the weight of the canary's own Ingress, if it is higher. Returns that Ingress, if there is one."""
        stored = await self._get(release, canary["metadata"]["name"])
        if stored is not None and weight_of(stored) > weight:
            name = {"name": canary["metadata"]["name"], "namespace": release.namespace}
            lower = {**INGRESS.type_meta, "metadata": {**name, "annotations": {CANARY_WEIGHT: str(weight)}}}
            # As a second manager: the first one's other fields would be removed by an apply that leaves them out.
            await self._api.apply(of_stored(lower, stored), manager=names.WEIGHT_MANAGER)
        return stored

    async def _get(self, release: Release, name: str) -> Json | None:
        """The release's own Ingress of that name, read live."""
        stored = await self._api.get(INGRESS.api_version, INGRESS.kind, release.namespace, name)
        return stored if stored is not None and other_owner(stored, release.name, release.uid) is None else None


def _is_intact(stored: Json | None, desired: Json) -> bool:
    return stored is not None and is_current(stored, desired) and not _breaking_additions(stored, desired)


def _breaking_additions(stored: Json, desired: Json) -> dict[str, Any]:
    """Annotations about canaries that are not ours, such as a header that leads to one past the weight."""
    annotations = stored["metadata"].get("annotations") or {}
    wanted = desired["metadata"].get("annotations") or {}
    found = {name: None for name in annotations if name.startswith(CANARY) and name not in wanted}
    return {"metadata": {"annotations": found}} if found else {}


def weight_of(canary: Json | None) -> int:
    """The share of a canary Ingress, in percent; 0 without one."""
    annotations = (canary or {}).get("metadata", {}).get("annotations") or {}
    text = str(annotations.get(CANARY_WEIGHT, "0"))
    if annotations.get(CANARY) != "true" or not text.isdigit():
        return 0
    return min(100, int(text))


def primary_ingress(release: Release) -> dict[str, Any]:
    """The Ingress that routes to stable."""
    annotations = dict(release.spec.traffic.ingress.annotations)
    return _ingress(release, release.name, names.stable_service(release.name), annotations)


def canary_ingress(release: Release, weight: int) -> dict[str, Any]:
    """The Ingress that routes `weight` percent to the canary. Host and path must be the primary's."""
    name = names.canary_service(release.name)
    return _ingress(release, name, name, {CANARY: "true", CANARY_WEIGHT: str(weight)})


def _ingress(release: Release, name: str, service: str, annotations: dict[str, str]) -> dict[str, Any]:
    traffic = release.spec.traffic
    backend = {"service": {"name": service, "port": {"name": names.PORT_HTTP}}}
    spec: dict[str, Any] = {
        "ingressClassName": traffic.ingress.class_name,
        "rules": [
            {
                "host": traffic.host,
                "http": {"paths": [{"path": traffic.path, "pathType": "Prefix", "backend": backend}]},
            }
        ],
    }
    if traffic.ingress.tls_secret_name:
        spec["tls"] = [{"hosts": [traffic.host], "secretName": traffic.ingress.tls_secret_name}]
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": release.namespace,
        "labels": release.labels,
        "ownerReferences": [release.owner],
    }
    if annotations:
        metadata["annotations"] = annotations
    return {**INGRESS.type_meta, "metadata": metadata, "spec": spec}
