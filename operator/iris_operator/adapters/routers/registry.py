"""Which routers exist."""

from __future__ import annotations

from collections.abc import Mapping

from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.adapters.routers.ingress import IngressRouter
from iris_operator.engine.ports import Router


def build_routers(api: KubernetesApi) -> Mapping[str, Router]:
    """The routers by their name in the API."""
    return {"Ingress": IngressRouter(api)}
