"""Which routers exist. A new one is a file beside this, a line here, a value in the API, and its kinds in the Role."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.adapters.routers import ingress
from iris_operator.engine.kinds import WatchedKind
from iris_operator.engine.ports import Router


class _Registration(NamedTuple):
    """How a router is made, and the kinds of objects that it reads and writes."""

    build: Callable[[KubernetesApi], Router]
    kinds: tuple[WatchedKind, ...]


_ROUTERS: Final[Mapping[str, _Registration]] = {
    "Ingress": _Registration(ingress.IngressRouter, (ingress.INGRESS,)),
}

ROUTER_KINDS: Final = tuple(kind for router in _ROUTERS.values() for kind in router.kinds)
"""The kinds of all routers."""


def build_routers(api: KubernetesApi) -> Mapping[str, Router]:
    """The routers by their name in the API."""
    return {name: router.build(api) for name, router in _ROUTERS.items()}
