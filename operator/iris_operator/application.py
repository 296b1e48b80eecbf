"""The running operator: wires adapters to the engine, and runs the reconcile loop of every release."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from iris_operator.adapters.events import KubernetesEvents
from iris_operator.adapters.kinds import ALL
from iris_operator.adapters.kubernetes.api import KubernetesApi, connect
from iris_operator.adapters.kubernetes.lease import KubernetesLease
from iris_operator.adapters.kubernetes.objects import ReleaseObjects
from iris_operator.adapters.kubernetes.presence import await_definition, has_releases, release_finalizers
from iris_operator.adapters.kubernetes.releases import ReleaseStore
from iris_operator.adapters.prometheus.client import PrometheusClient
from iris_operator.adapters.prometheus.fleet import FleetMetrics
from iris_operator.adapters.routers.registry import build_routers
from iris_operator.api import names
from iris_operator.engine.analyze import Analyzer
from iris_operator.engine.backoff import RETRY_SECONDS
from iris_operator.engine.batch_judge import BatchJudge
from iris_operator.engine.judgements import BackgroundJudgements
from iris_operator.engine.kinds import LEASE
from iris_operator.engine.ports import Lister, Unavailable
from iris_operator.engine.reconcile import Ports, ReconcileOutcome, Reconciler, Result
from iris_operator.kopf_settings import Stopped
from iris_operator.leadership import Leadership, LeaseLeadership, WithoutElection
from iris_operator.metrics.releases import CountingRecorder
from iris_operator.metrics.server import OperatorMetrics
from iris_operator.pass_gate import PassGate
from iris_operator.probes import ProbeServer
from iris_operator.settings import Settings
from iris_operator.watches import await_failed_watch
from iris_operator.workqueue import Key, WorkQueue

log = logging.getLogger(__name__)

# Watch events come in bursts (a pod, its endpoint, its Deployment): one reconcile for all of them.
_DEBOUNCE_SECONDS = 0.05
# How often a standby looks whether a release that is being deleted is gone.
_GONE_SECONDS = 5.0
# How often it is asked whether there are releases at all, before the first handler runs.
_SYNC_SECONDS = 5.0
# What makes a watch fail, as a right that is missing, lasts: not to ask for it without a pause.
_RESTART_SECONDS = 2.0


class Application:
    """Owns the connections and the loops; decides nothing."""

    def __init__(
        self,
        settings: Settings,
        metrics: OperatorMetrics | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        """`random` gives numbers from 0 to 1, for the waits between retries."""
        self.settings = settings
        self._random = random
        self.queue = WorkQueue()
        self.metrics = metrics or OperatorMetrics()
        self.metrics.leads = self.leads
        self.ended = asyncio.Event()
        """Set when Kopf must end."""
        self.starts_again = False
        """Was it a failed watch that ended it? Then all watches must start again."""
        self._gate = PassGate(WithoutElection(), time.monotonic)
        self._probes = ProbeServer(settings.health_port, alive=self.not_alive, ready=self.not_ready)
        self._supervision: asyncio.Task[None] | None = None
        self._api: KubernetesApi | None = None
        self._clients: list[Any] = []
        self._election: asyncio.Task[None] | None = None
        self._releasing: asyncio.Task[None] | None = None
        # Kopf calls no handler before all watches have listed what there is.
        self._synced = asyncio.Event()
        # One for all releases: they share queries, and are judged in batches.
        self._analyzer = _build_analyzer(settings)
        self._judgements = BackgroundJudgements(self.queue.add, _now)

    async def start(self) -> None:
        """Open the connections, wait for the CRD, and take part in the election."""
        await self._probes.start()
        leadership = await self._leadership()
        self._gate = PassGate(leadership, time.monotonic)
        self._api = KubernetesApi(await self._connect(), ALL, may_write=leadership.may_write)
        self.metrics.serve(self.settings.metrics_port)
        await await_definition(self._api)
        if self.leads():
            await release_finalizers(self._api, self.settings.namespaces)
        self._election = asyncio.create_task(self._take_part(self._api, leadership))
        self._supervision = asyncio.create_task(self._restart_after_failed_watch())
        log.info("operator started", extra={"namespaces": list(self.settings.namespaces)})

    async def retire(self) -> None:
        """Hand over to another operator, as soon as the passes that run have ended."""
        await self._gate.close()

    async def stop(self) -> None:
        """Close the connections."""
        await self.retire()
        for task in (self._election, self._supervision, self._releasing):
            if task is not None:
                task.cancel()
        await self._probes.stop()
        for client in self._clients:
            await client.close()

    def leads(self) -> bool:
        """Is it this process that reconciles?"""
        return self._gate.leadership.leads()

    def not_alive(self) -> str:
        """Why this process should be restarted; empty while it works."""
        return self._gate.problem()

    def not_ready(self) -> str:
        """Why it could not reconcile if it had to; empty when it could."""
        return (
            self._gate.leadership.problem() if self._synced.is_set() else "the watches have not listed all objects yet"
        )

    async def _connect(self) -> Any:
        client = await connect()
        self._clients.append(client)
        return client

    async def _leadership(self) -> Leadership:
        election = self.settings.leader_election
        if election is None:
            log.warning("without leader election: a second operator must not be started")
            return WithoutElection()
        api = KubernetesApi(await self._connect(), (LEASE,))
        lease = KubernetesLease(api, election.namespace, election.lease_name, _now)
        return LeaseLeadership(lease, election.identity, clock=time.monotonic, on_change=self._leader_changed)

    async def _take_part(self, api: KubernetesApi, leadership: Leadership) -> None:
        # One that cannot reconcile yet must not take the lease from one that can.
        while not self._synced.is_set():
            try:
                found = [await has_releases(api, namespace) for namespace in self.settings.namespaces]
            except Exception as error:  # noqa: BLE001 - without an answer it is asked again
                log.warning("the releases could not be listed: %s", error)
            else:
                # With none there is no handler to be called.
                if not any(found):
                    self._synced.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._synced.wait(), _SYNC_SECONDS)
        await leadership.run()

    def _leader_changed(self, leads: bool) -> None:
        self._gate.leader_changed()
        if leads:
            self.queue.add_all()
            self._release_finalizers()
        else:
            self.metrics.releases.forget_all()

    def _release_finalizers(self) -> None:
        if self._api is not None:
            self._releasing = asyncio.create_task(release_finalizers(self._api, self.settings.namespaces))

    async def _restart_after_failed_watch(self) -> None:
        await await_failed_watch()
        await self.retire()
        await asyncio.sleep(_RESTART_SECONDS)
        self.starts_again = True
        self.ended.set()

    def release_changed(self, key: Key, body: Mapping[str, Any]) -> None:
        """A watch event of the release: its spec, annotations and deletion count, its status does not."""
        self._synced.set()
        metadata = body["metadata"]
        annotations = {
            name: value
            for name, value in (metadata.get("annotations") or {}).items()
            if name in names.ANNOTATIONS_OF_PEOPLE
        }
        self.queue.add_if_changed(
            key, (metadata.get("generation"), metadata.get("deletionTimestamp"), tuple(sorted(annotations.items())))
        )

    async def reconcile_loop(self, key: Key, lister: Lister, stopped: Stopped) -> None:
        """Reconcile while this process leads, until the release is deleted or the operator stops."""
        self._synced.set()
        reconciler = self._reconciler(lister)
        while not stopped:
            if not self._gate.may_begin():
                await _first_of(self._gate.wait(key), stopped.wait())
                continue
            outcome = await self._reconcile(reconciler, key)
            if outcome.finished:
                return
            await self._wait(key, outcome.requeue_after, stopped)
        self._gate.forget(key)

    async def finalize(self, key: Key, lister: Lister) -> None:
        """Reconcile until nothing is left that must be removed in order; a standby waits until the leader has done so.

        Kopf takes the finalizer away afterwards, also a standby's: so that must not get there before the leader.
        """
        self._synced.set()
        reconciler = self._reconciler(lister)
        while True:
            if self._gate.may_begin():
                outcome = await self._reconcile(reconciler, key)
                if outcome.finished:
                    break
                await self._wait(key, outcome.requeue_after)
            elif await self._is_gone(key):
                break
            else:
                await _first_of(self._gate.wait(key), asyncio.sleep(_GONE_SECONDS))
        self._gate.forget(key)
        self.queue.forget(key)

    async def _is_gone(self, key: Key) -> bool:
        assert self._api is not None, "a handler runs after the start"  # noqa: S101 - an invariant
        try:
            stored = await ReleaseStore(self._api).read(*key)
        except Exception as error:  # noqa: BLE001 - without an answer it counts as there
            log.warning("a release that is being deleted could not be read: %s", error)
            return False
        return stored is None or "deletionTimestamp" not in stored["metadata"]

    async def _wait(self, key: Key, seconds: float, stopped: Stopped | None = None) -> None:
        await asyncio.sleep(_DEBOUNCE_SECONDS)
        if seconds > 0:
            await _first_of(self.queue.wait(key, seconds), *([] if stopped is None else [stopped.wait()]))

    async def _reconcile(self, reconciler: Reconciler, key: Key) -> ReconcileOutcome:
        with self.metrics.time_reconcile(), self._gate.passing(key):
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
        if outcome.finished:
            self._gate.forget(key)
        else:
            self._gate.due(key, outcome.requeue_after)
        if self.leads():
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


async def _first_of(*awaited: Awaitable[Any]) -> None:
    tasks = {asyncio.ensure_future(each) for each in awaited}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


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
