"""The running operator: wires adapters to the engine, and gives every release its loop of passes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import kopf

from iris_operator.adapters.events import KubernetesEvents
from iris_operator.adapters.kubernetes.api import KubernetesApi, connect
from iris_operator.adapters.kubernetes.objects import ReleaseObjects
from iris_operator.adapters.kubernetes.releases import Releases
from iris_operator.adapters.prometheus.client import PrometheusClient
from iris_operator.adapters.prometheus.fleet import FleetMetrics
from iris_operator.adapters.routers.registry import build_routers
from iris_operator.api import names
from iris_operator.engine.judging import FleetJudge, Judging
from iris_operator.engine.ports import Unavailable, Watched
from iris_operator.engine.reconcile import RETRY_SECONDS, Outcome, Ports, Reconciler, Result
from iris_operator.release_metrics import Counted
from iris_operator.settings import Settings
from iris_operator.telemetry import Telemetry
from iris_operator.wakeups import Key, Wakeups

log = logging.getLogger(__name__)

# Events come in bursts (a pod and its endpoint and its Deployment): one pass for all of them.
_BURST_SECONDS = 0.05


class Stopped(Protocol):
    """Kopf's flag that a daemon must end."""

    def __bool__(self) -> bool:
        """True when it must."""

    def wait(self) -> Awaitable[Any]:
        """Until it must."""


class Application:
    """Owns the connections and the loops; decides nothing."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.wakeups = Wakeups()
        self.telemetry = Telemetry()
        self._api: KubernetesApi | None = None
        self._client: Any = None
        # One for all releases: they share queries, and are judged together.
        self._judging = _judging(settings)

    async def start(self) -> None:
        """Open the connections."""
        self._client = await connect()
        self._api = KubernetesApi(self._client)
        self.telemetry.serve(self.settings.metrics_port)
        log.info("operator started", extra={"namespaces": list(self.settings.namespaces)})

    async def stop(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    def configure(self, settings: kopf.OperatorSettings) -> None:
        """Kopf without its notes on our objects: no events, no annotations, only our finalizer."""
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.persistence.finalizer = names.FINALIZER
        settings.persistence.diffbase_storage = _NoDiffBase()
        settings.networking.request_timeout = 30
        settings.networking.connect_timeout = 5
        for plural in (
            *("deployments", "services", "pods", "endpointslices", "ingresses"),
            *("horizontalpodautoscalers", "poddisruptionbudgets", "configmaps"),
        ):
            settings.watching.label_selectors[plural] = names.LABEL_RELEASE

    def release_changed(self, key: Key, body: Mapping[str, Any]) -> None:
        """The release was told of by its watch: a new spec, an annotation, a deletion; our own status is no news."""
        metadata = body["metadata"]
        annotations = {
            name: value
            for name, value in (metadata.get("annotations") or {}).items()
            if name in (names.ANNOTATION_APPROVED, names.ANNOTATION_RETRY)
        }
        self.wakeups.wake_if_new(
            key, (metadata.get("generation"), metadata.get("deletionTimestamp"), tuple(sorted(annotations.items())))
        )

    async def keep(self, key: Key, watched: Watched, stopped: Stopped) -> None:
        """Pass after pass until the release is deleted or the operator stops."""
        reconciler = self._reconciler(watched)
        while not stopped:
            outcome = await self._pass(reconciler, key)
            if outcome.finished:
                return
            await self._wait(key, outcome.wake_after, stopped)

    async def take_apart(self, key: Key, watched: Watched) -> None:
        """Pass after pass until nothing is left that must go in order."""
        reconciler = self._reconciler(watched)
        while not (outcome := await self._pass(reconciler, key)).finished:
            await self._wait(key, outcome.wake_after)
        self.wakeups.forget(key)

    async def _wait(self, key: Key, seconds: float, stopped: Stopped | None = None) -> None:
        await asyncio.sleep(_BURST_SECONDS)
        if seconds <= 0:
            return
        reasons = {asyncio.ensure_future(self.wakeups.wait(key, seconds))}
        if stopped is not None:
            reasons.add(asyncio.ensure_future(stopped.wait()))
        try:
            await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for reason in reasons:
                reason.cancel()

    async def _pass(self, reconciler: Reconciler, key: Key) -> Outcome:
        with self.telemetry.timed():
            try:
                outcome = await reconciler.run(*key)
            except Unavailable as error:
                log.warning(
                    "the API server is not available: %s", error, extra={"namespace": key[0], "release": key[1]}
                )
                outcome = Outcome(max(error.retry_after, RETRY_SECONDS), result=Result.FAILED)
            except Exception:
                # Nothing that one release raises may end its loop: Kopf would start it again only a minute later.
                log.exception("the release could not be read", extra={"namespace": key[0], "release": key[1]})
                outcome = Outcome(RETRY_SECONDS, result=Result.FAILED)
        self.telemetry.passed(key, outcome, _now().timestamp())
        return outcome

    def _reconciler(self, watched: Watched) -> Reconciler:
        if self._api is None:
            raise RuntimeError("a handler ran before the operator was started")
        return Reconciler(
            Ports(
                store=Releases(self._api),
                objects=ReleaseObjects(self._api),
                watched=watched,
                routers=build_routers(self._api),
                judging=self._judging,
                audience=Counted(KubernetesEvents(self._api, _now), self.telemetry.releases),
                clock=_now,
            )
        )


class _NoDiffBase(kopf.DiffBaseStorage):
    """We compare the world with the spec in every pass; Kopf need not remember the last spec in an annotation."""

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002 - Kopf's signature
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Remember nothing."""


def _judging(settings: Settings) -> Judging:
    client = PrometheusClient(settings.prometheus_url, timeout_seconds=settings.metrics_timeout)
    metrics = FleetMetrics(
        client, look_back_seconds=settings.metrics_look_back, max_age_seconds=settings.metrics_max_age
    )
    return Judging(metrics, FleetJudge(), settings.metrics_lag)


def _now() -> datetime:
    return datetime.now(UTC)
