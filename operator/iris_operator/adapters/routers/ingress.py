"""Traffic split by two Ingresses: the primary leads to stable, the second, marked as its canary, to the canary.

The annotations are those of ingress-nginx, which Traefik's ingress-nginx provider honours too.
"""

from __future__ import annotations

from typing import Any

from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.api import names
from iris_operator.engine.drift import says
from iris_operator.engine.ports import Json, Unverified
from iris_operator.engine.release import Release
from iris_operator.rollout.observation import Route

API_VERSION = "networking.k8s.io/v1"
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
        intact = says(primary, primary_ingress(release)) and (
            canary is None or says(canary, canary_ingress(release, weight))
        )
        return Route(exists=primary is not None, weight=weight, intact=intact)

    async def set_weight(self, release: Release, weight: int) -> None:
        """See `Router.set_weight`."""
        primary = await self._get(release, release.name)
        if not says(primary, primary_ingress(release)):
            await self._api.apply(primary_ingress(release))
        canary_exists = await self._get(release, names.canary_service(release.name)) is not None
        if weight > 0 or canary_exists:
            await self._api.apply(canary_ingress(release, weight))
        seen = await self.read(release)
        if not seen.exists or seen.weight != weight:
            raise Unverified(
                f"Ingress {release.namespace}/{names.canary_service(release.name)} reads back weight {seen.weight} "
                f"after {weight} was written: another controller or an admission webhook changes it"
            )

    async def _get(self, release: Release, name: str) -> Json | None:
        return await self._api.get(API_VERSION, "Ingress", release.namespace, name)


def weight_of(canary: Json | None) -> int:
    """The share that a canary Ingress gives, in percent; 0 when it gives none."""
    annotations = (canary or {}).get("metadata", {}).get("annotations") or {}
    text = str(annotations.get(CANARY_WEIGHT, "0"))
    if annotations.get(CANARY) != "true" or not text.isdigit():
        return 0
    return min(100, int(text))


def primary_ingress(release: Release) -> dict[str, Any]:
    """The Ingress that leads to stable."""
    annotations = dict(release.spec.traffic.ingress.annotations)
    return _ingress(release, release.name, names.stable_service(release.name), annotations)


def canary_ingress(release: Release, weight: int) -> dict[str, Any]:
    """The Ingress that leads `weight` percent to the canary. Host and path must be the primary's."""
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
    return {"apiVersion": API_VERSION, "kind": "Ingress", "metadata": metadata, "spec": spec}
