"""A release's objects from memory: Kopf's indices, kept up to date by its watches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from iris_operator.engine.ports import Children, Json

Index = Mapping[tuple[str, str], Iterable[Any]]
"""(namespace, release) -> objects."""


@dataclass(frozen=True)
class WatchedObjects:
    """Implements `engine.ports.Watched`; Kopf fills the indices before the first handler runs."""

    deployments: Index
    services: Index
    pods: Index
    endpoint_slices: Index
    autoscalers: Index
    budgets: Index
    plans: Index

    def children(self, namespace: str, release: str) -> Children:
        """See `Watched.children`."""

        def of(index: Index) -> tuple[Json, ...]:
            return tuple(index.get((namespace, release), ()))

        return Children(
            deployments=of(self.deployments),
            services=of(self.services),
            pods=of(self.pods),
            endpoint_slices=of(self.endpoint_slices),
            autoscalers=of(self.autoscalers),
            budgets=of(self.budgets),
            plans=of(self.plans),
        )
