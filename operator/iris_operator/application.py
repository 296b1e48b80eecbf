"""The running operator: wires adapters to the engine, and runs the reconcile loop of every release."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import kopf

from iris_operator.adapters.events import KubernetesEvents
from iris_operator.adapters.kinds import ALL, WATCHED
from iris_operator.adapters.kubernetes.api import KubernetesApi, connect
from iris_operator.adapters.kubernetes.objects import ReleaseObjects
from iris_operator.adapters.kubernetes.releases import ReleaseStore
from iris_operator.adapters.prometheus.client import PrometheusClient
from iris_operator.adapters.prometheus.fleet import FleetMetrics
from iris_operator.adapters.routers.registry import build_routers
from iris_operator.api import names
from iris_operator.engine.analyze import Analyzer
from iris_operator.engine.backoff import RETRY_SECONDS
from iris_operator.engine.batch_judge import BatchJudge
from iris_operator.engine.judgements import BackgroundJudgements
from iris_operator.engine.ports import Lister, Unavailable
from iris_operator.engine.reconcile import Ports, ReconcileOutcome, Reconciler, Result
from iris_operator.metrics.releases import CountingRecorder
from iris_operator.metrics.server import OperatorMetrics
from iris_operator.settings import Settings
from iris_operator.workqueue import Key, WorkQueue

log = logging.getLogger(__name__)

# Watch events come in bursts (a pod, its endpoint, its Deployment): one reconcile for all of them.
_DEBOUNCE_SECONDS = 0.05


class Stopped(Protocol):
    """Kopf's flag that a daemon must end."""

    def __bool__(self) -> bool:
        """True when it must end."""

    def wait(self) -> Awaitable[Any]:
        """Wait until it must end."""


class Application:
    """Owns the connections and the loops; decides nothing."""

    def __init__(self, settings: Settings, random: Callable[[], float] = random.random) -> None:
        """`random` gives numbers from 0 to 1, for the waits between retries."""
        self.settings = settings
        self._random = random
        self.queue = WorkQueue()
        self.metrics = OperatorMetrics()
        self._api: KubernetesApi | None = None
        self._client: Any = None
        # One for all releases: they share queries, and are judged in batches.
        self._analyzer = _build_analyzer(settings)
        self._judgements = BackgroundJudgements(self.queue.add, _now)

    async def start(self) -> None:
        """Open the connections."""
        self._client = await connect()
        self._api = KubernetesApi(self._client, ALL)
        self.metrics.serve(self.settings.metrics_port)
        log.info("operator started", extra={"namespaces": list(self.settings.namespaces)})

    async def stop(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    def configure(self, settings: kopf.OperatorSettings) -> None:
        """Kopf without events or annotations of its own on objects, and with the operator's finalizer."""
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.persistence.finalizer = names.FINALIZER
        settings.persistence.diffbase_storage = _NoDiffBase()
        settings.networking.request_timeout = 30
        settings.networking.connect_timeout = 5
        for kind in WATCHED:
            settings.watching.label_selectors[kind.plural] = names.LABEL_RELEASE

    def release_changed(self, key: Key, body: Mapping[str, Any]) -> None:
        """A watch event of the release: its spec, annotations and deletion count, its status does not."""
        metadata = body["metadata"]
        annotations = {
            name: value
            for name, value in (metadata.get("annotations") or {}).items()
            if name in (names.ANNOTATION_APPROVED, names.ANNOTATION_RETRY)
        }
        self.queue.add_if_changed(
            key, (metadata.get("generation"), metadata.get("deletionTimestamp"), tuple(sorted(annotations.items())))
        )

    async def reconcile_loop(self, key: Key, lister: Lister, stopped: Stopped) -> None:
        """Reconcile until the release is deleted or the operator stops."""
        reconciler = self._reconciler(lister)
        while not stopped:
            outcome = await self._reconcile(reconciler, key)
            if outcome.finished:
                return
            await self._wait(key, outcome.requeue_after, stopped)

    async def finalize(self, key: Key, lister: Lister) -> None:
        """Reconcile until nothing is left that must be removed in order."""
        reconciler = self._reconciler(lister)
        while not (outcome := await self._reconcile(reconciler, key)).finished:
            await self._wait(key, outcome.requeue_after)
        self.queue.forget(key)

    async def _wait(self, key: Key, seconds: float, stopped: Stopped | None = None) -> None:
        await asyncio.sleep(_DEBOUNCE_SECONDS)
        if seconds <= 0:
            return
        tasks = {asyncio.ensure_future(self.queue.wait(key, seconds))}
        if stopped is not None:
            tasks.add(asyncio.ensure_future(stopped.wait()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _reconcile(self, reconciler: Reconciler, key: Key) -> ReconcileOutcome:
        with self.metrics.time_reconcile():
            try:
                outcome = await reconciler.reconcile(*key)
            except Unavailable as error:
                log.warning(
                    "the API server is not available: %s", error, extra={"namespace": key[0], "release": key[1]}
                )
                outcome = ReconcileOutcome(max(error.retry_after, RETRY_SECONDS), result=Result.FAILED)
            except Exception:
                # No exception may end a release's loop: Kopf would restart it only a minute later.
                log.exception("the release could not be read", extra={"namespace": key[0], "release": key[1]})
                outcome = ReconcileOutcome(RETRY_SECONDS, result=Result.FAILED)
        self.metrics.reconciled(key, outcome, _now().timestamp())
        return outcome

    def _reconciler(self, lister: Lister) -> Reconciler:
        if self._api is None:
            raise RuntimeError("a handler ran before the operator was started")
        return Reconciler(
            Ports(
                store=ReleaseStore(self._api),
                objects=ReleaseObjects(self._api),
                lister=lister,
                routers=build_routers(self._api),
                analyzer=self._analyzer,
                judgements=self._judgements,
                event_recorder=CountingRecorder(KubernetesEvents(self._api, _now), self.metrics.releases),
                clock=_now,
                random=self._random,
            )
        )


class _NoDiffBase(kopf.DiffBaseStorage):
    """Every reconcile compares the cluster with the spec; Kopf need not store the last spec in an annotation."""

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002 - Kopf's signature
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Store nothing."""


def _build_analyzer(settings: Settings) -> Analyzer:
    client = PrometheusClient(settings.prometheus_url, timeout_seconds=settings.metrics_timeout)
    fleet_metrics = FleetMetrics(
        client,
        look_back_seconds=settings.metrics_look_back,
        max_age_seconds=settings.metrics_max_age,
        # A query may wait for a place for as long as it may take.
        deadline_seconds=2 * settings.metrics_timeout,
    )
    return Analyzer(fleet_metrics, BatchJudge(), settings.metrics_lag)


def _now() -> datetime:
    return datetime.now(UTC)
