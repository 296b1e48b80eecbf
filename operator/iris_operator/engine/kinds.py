"""The kinds of objects that the operator reads, writes or watches: one table, from which everything else follows.

Derived from it are Kopf's handlers, indices and watch selectors, the paths of the API, the manifests' `apiVersion` and
`kind`, and, checked by tests, the Role in `deploy/base/operator/rbac.yaml`. A router adds the kinds that it needs
beside its own code (see `adapters.routers.registry`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from iris_operator.api import names


@dataclass(frozen=True, kw_only=True)
class ResourceKind:
    """A kind as the API server names it, and the verbs that the operator needs on it."""

    group: str
    """Empty for the core group."""
    version: str
    kind: str
    plural: str
    verbs: tuple[str, ...]
    status_verbs: tuple[str, ...] = ()
    """Verbs that are needed on its subresource `status`."""

    @property
    def api_version(self) -> str:
        """Group and version as manifests have them."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def type_meta(self) -> dict[str, str]:
        """The first two fields of a manifest."""
        return {"apiVersion": self.api_version, "kind": self.kind}


class ReconcileOn(Enum):
    """Which watch events of an object reconcile the release that it belongs to."""

    ANY_EVENT = "any event"
    DELETION = "deletion"


@dataclass(frozen=True, kw_only=True)
class WatchedKind(ResourceKind):
    """A kind whose objects belong to a release by their label, and are watched by that label."""

    reconcile_on: ReconcileOn
    index: str = ""
    """The field of `OwnedObjects` that holds the watched objects; empty for what is read live instead."""


RELEASE: Final = ResourceKind(
    group=names.GROUP,
    version=names.VERSION,
    kind=names.KIND,
    plural=names.PLURAL,
    # The spec is the user's: patch is for the finalizer.
    verbs=("get", "list", "watch", "patch"),
    status_verbs=("patch",),
)
EVENT: Final = ResourceKind(group="", version="v1", kind="Event", plural="events", verbs=("create",))
# In the operator's own namespace, so it is no part of the Role for the releases.
LEASE: Final = ResourceKind(
    group="coordination.k8s.io", version="v1", kind="Lease", plural="leases", verbs=("get", "create", "update")
)
# create beside patch: a server-side apply of what is not there yet. get: every write looks first whose the object is.
DEPLOYMENT: Final = WatchedKind(
    group="apps",
    version="v1",
    kind="Deployment",
    plural="deployments",
    verbs=("get", "list", "watch", "create", "patch", "delete"),
    reconcile_on=ReconcileOn.ANY_EVENT,
    index="deployments",
)
SERVICE: Final = WatchedKind(
    group="",
    version="v1",
    kind="Service",
    plural="services",
    verbs=("get", "list", "watch", "create", "patch"),
    reconcile_on=ReconcileOn.ANY_EVENT,
    index="services",
)
POD: Final = WatchedKind(
    group="",
    version="v1",
    kind="Pod",
    plural="pods",
    verbs=("list", "watch"),
    reconcile_on=ReconcileOn.ANY_EVENT,
    index="pods",
)
ENDPOINT_SLICE: Final = WatchedKind(
    group="discovery.k8s.io",
    version="v1",
    kind="EndpointSlice",
    plural="endpointslices",
    verbs=("list", "watch"),
    reconcile_on=ReconcileOn.ANY_EVENT,
    index="endpoint_slices",
)
CONFIG_MAP: Final = WatchedKind(
    group="",
    version="v1",
    kind="ConfigMap",
    plural="configmaps",
    verbs=("get", "list", "watch", "create", "patch"),
    reconcile_on=ReconcileOn.ANY_EVENT,
    index="config_maps",
)
# The status of these two changes with every measurement, which needs no reconcile; a deletion does.
AUTOSCALER: Final = WatchedKind(
    group="autoscaling",
    version="v2",
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    verbs=("get", "list", "watch", "create", "patch", "delete"),
    reconcile_on=ReconcileOn.DELETION,
    index="autoscalers",
)
DISRUPTION_BUDGET: Final = WatchedKind(
    group="policy",
    version="v1",
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    verbs=("get", "list", "watch", "create", "patch", "delete"),
    reconcile_on=ReconcileOn.DELETION,
    index="disruption_budgets",
)

WATCHED_BY_ENGINE: Final[tuple[WatchedKind, ...]] = (
    DEPLOYMENT,
    SERVICE,
    POD,
    ENDPOINT_SLICE,
    CONFIG_MAP,
    AUTOSCALER,
    DISRUPTION_BUDGET,
)
"""What the engine needs whatever the router. Routers add theirs."""
