"""Kopf's decorators and nothing else: what wakes a release, what keeps its objects in memory, what ends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kopf

from iris_operator.adapters.kubernetes.watched import WatchedObjects
from iris_operator.api import names
from iris_operator.application import Application

_OURS = {names.LABEL_RELEASE: kopf.PRESENT}
_RELEASES = (names.GROUP, names.VERSION, names.PLURAL)
_INDEXED = {
    "deployments": ("apps", "v1", "deployments"),
    "services": ("", "v1", "services"),
    "pods": ("", "v1", "pods"),
    "endpoint_slices": ("discovery.k8s.io", "v1", "endpointslices"),
    "plans": ("", "v1", "configmaps"),
}
_WAKING = {**_INDEXED, "ingresses": ("networking.k8s.io", "v1", "ingresses")}
# Their status changes with every measurement, which is no news; that one is gone is.
_GUARDS = {
    "autoscalers": ("autoscaling", "v2", "horizontalpodautoscalers"),
    "budgets": ("policy", "v1", "poddisruptionbudgets"),
}


def register(registry: kopf.OperatorRegistry, app: Application) -> None:
    """Hang the application onto Kopf."""
    for name, resource in {**_INDEXED, **_GUARDS}.items():
        kopf.index(*resource, id=name, labels=_OURS, registry=registry)(_by_release)
    for resource in _WAKING.values():
        kopf.on.event(*resource, labels=_OURS, registry=registry)(_wake_owner_of(app))
    for resource in _GUARDS.values():
        kopf.on.event(*resource, labels=_OURS, when=_is_gone, registry=registry)(_wake_owner_of(app))
    _register_lifetime(registry, app)
    _register_release(registry, app)


def _by_release(namespace: str | None, labels: kopf.Labels, body: kopf.Body, **_: Any) -> dict[tuple[str, str], Any]:
    return {(namespace or "", labels[names.LABEL_RELEASE]): dict(body)}


def _wake_owner_of(app: Application) -> Any:
    async def wake_owner(namespace: str | None, labels: kopf.Labels, **_: Any) -> None:
        app.wakeups.wake((namespace or "", labels[names.LABEL_RELEASE]))

    return wake_owner


def _is_gone(event: kopf.RawEvent, **_: Any) -> bool:
    return event["type"] == "DELETED"


def _register_lifetime(registry: kopf.OperatorRegistry, app: Application) -> None:
    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        await app.start()
        app.configure(settings)

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        await app.stop()

    @kopf.on.login(registry=registry)
    def login(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)


def _register_release(registry: kopf.OperatorRegistry, app: Application) -> None:
    @kopf.on.event(*_RELEASES, registry=registry)
    async def wake(namespace: str | None, name: str, body: kopf.Body, **_: Any) -> None:
        app.release_changed((namespace or "", name), body)

    @kopf.daemon(*_RELEASES, registry=registry, cancellation_backoff=5.0, cancellation_timeout=5.0)
    async def keep(namespace: str | None, name: str, stopped: kopf.DaemonStopped, **indices: Any) -> None:
        await app.keep((namespace or "", name), _watched(indices), stopped)

    @kopf.on.delete(*_RELEASES, registry=registry)
    async def take_apart(namespace: str | None, name: str, **indices: Any) -> None:
        await app.take_apart((namespace or "", name), _watched(indices))


def _watched(indices: Mapping[str, Any]) -> WatchedObjects:
    return WatchedObjects(**{name: indices[name] for name in (*_INDEXED, *_GUARDS)})
