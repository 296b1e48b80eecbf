"""Traffic split by two Ingresses: the primary routes to stable, the second, annotated as its canary, to the canary.

The annotations are those of ingress-nginx, which Traefik's ingress-nginx provider supports too.
"""

from __future__ import annotations

from typing import Any

from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.api import names
from iris_operator.engine.drift import matches
from iris_operator.engine.kinds import ReconcileOn, WatchedKind
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

    async def read(self, release: Release) -> Route:
        """See `Router.read`."""
        primary = await self._get(release, release.name)
        canary = await self._get(release, names.canary_service(release.name))
        weight = weight_of(canary)
        intact = matches(primary, primary_ingress(release)) and (
            canary is None or matches(canary, canary_ingress(release, weight))
        )
        return Route(exists=primary is not None, weight=weight, intact=intact)

    async def set_weight(self, release: Release, weight: int) -> None:
        """See `Router.set_weight`."""
        await self._lower(release, weight)
        primary = await self._get(release, release.name)
        if not matches(primary, primary_ingress(release)):
            await self._api.apply(primary_ingress(release))
        canary = await self._get(release, names.canary_service(release.name))
        if (weight > 0 or canary is not None) and not matches(canary, canary_ingress(release, weight)):
            await self._api.apply(canary_ingress(release, weight))
        route = await self.read(release)
        if not route.exists or route.weight != weight:
            raise Unverified(
                f"Ingress {release.namespace}/{names.canary_service(release.name)} reads back weight {route.weight} "
                f"after {weight} was written: another controller or an admission webhook changes it"
            )

    async def _lower(self, release: Release, weight: int) -> None:
        """Take traffic from the canary before anything else, by the one annotation.

        All else stays as it is stored: what the spec asks for now may be refused.
        """
        canary = await self._get(release, names.canary_service(release.name))
        if canary is not None and weight < weight_of(canary):
            await self._api.apply({**canary_ingress(release, weight), "spec": canary["spec"]})

    async def _get(self, release: Release, name: str) -> Json | None:
        return await self._api.get(INGRESS.api_version, INGRESS.kind, release.namespace, name)


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
