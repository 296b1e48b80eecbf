"""Where the kinds that the demo and the end-to-end tests use live in the Kubernetes API."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Resource:
    """Where a kind lives in the API: ``prefix`` is ``api/v1`` or ``apis/<group>/<version>``."""

    prefix: str
    plural: str

    def path(self, namespace: str, name: str = "") -> str:
        """The path of one object, or of all of a namespace."""
        return f"/{self.prefix}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")


RELEASES = Resource("apis/iris.mlrelease.dev/v1alpha1", "irismodelreleases")
DEPLOYMENTS = Resource("apis/apps/v1", "deployments")
SERVICES = Resource("api/v1", "services")
PODS = Resource("api/v1", "pods")
EVENTS = Resource("api/v1", "events")
INGRESSES = Resource("apis/networking.k8s.io/v1", "ingresses")
POD_DISRUPTION_BUDGETS = Resource("apis/policy/v1", "poddisruptionbudgets")
HORIZONTAL_POD_AUTOSCALERS = Resource("apis/autoscaling/v2", "horizontalpodautoscalers")
ENDPOINT_SLICES = Resource("apis/discovery.k8s.io/v1", "endpointslices")
LEASES = Resource("apis/coordination.k8s.io/v1", "leases")
