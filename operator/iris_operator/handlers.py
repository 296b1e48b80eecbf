"""Kopf's decorators and nothing else: what reconciles a release, what is indexed, what finalizes it."""

from __future__ import annotations

from typing import Any

import kopf

from iris_operator.adapters.kinds import WATCHED
from iris_operator.adapters.kubernetes.lister import IndexLister
from iris_operator.api import names
from iris_operator.application import Application
from iris_operator.engine.kinds import RELEASE, ReconcileOn
from iris_operator.kopf_settings import configure

_RELEASES = (RELEASE.group, RELEASE.version, RELEASE.plural)
_BELONGS_TO_RELEASE = {names.LABEL_RELEASE: kopf.PRESENT}


def register(registry: kopf.OperatorRegistry, app: Application) -> None:
    """Register the application's handlers with Kopf."""
    for kind in WATCHED:
        resource = (kind.group, kind.version, kind.plural)
        options: dict[str, Any] = {"labels": _BELONGS_TO_RELEASE, "registry": registry}
        if kind.index:
            kopf.index(*resource, id=kind.index, **options)(_by_release)
        if kind.reconcile_on is ReconcileOn.DELETION:
            options["when"] = _is_deletion
        kopf.on.event(*resource, **options)(_reconcile_owner(app))
    _register_lifetime(registry, app)
    _register_release(registry, app)


def _by_release(namespace: str | None, labels: kopf.Labels, body: kopf.Body, **_: Any) -> dict[tuple[str, str], Any]:
    return {(namespace or "", labels[names.LABEL_RELEASE]): dict(body)}


def _reconcile_owner(app: Application) -> Any:
    async def reconcile_owner(namespace: str | None, labels: kopf.Labels, **_: Any) -> None:
        app.queue.add((namespace or "", labels[names.LABEL_RELEASE]))

    return reconcile_owner


def _is_deletion(event: kopf.RawEvent, **_: Any) -> bool:
    return event["type"] == "DELETED"


def _register_lifetime(registry: kopf.OperatorRegistry, app: Application) -> None:
    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        await app.start()
        configure(settings)

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        await app.stop()

    @kopf.on.login(registry=registry)
    def login(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)


def _register_release(registry: kopf.OperatorRegistry, app: Application) -> None:
    @kopf.on.event(*_RELEASES, registry=registry)
    async def release_changed(namespace: str | None, name: str, body: kopf.Body, **_: Any) -> None:
        app.release_changed((namespace or "", name), body)

    @kopf.daemon(*_RELEASES, registry=registry, cancellation_backoff=5.0, cancellation_timeout=5.0)
    async def reconcile(namespace: str | None, name: str, stopped: kopf.DaemonStopped, **indices: Any) -> None:
        await app.reconcile_loop((namespace or "", name), IndexLister(indices), stopped)

    @kopf.on.delete(*_RELEASES, registry=registry)
    async def finalize(namespace: str | None, name: str, **indices: Any) -> None:
        await app.finalize((namespace or "", name), IndexLister(indices))
