"""One reconcile of one release: read, decide, store the intent, act."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from iris_operator.api.durations import parse_duration
from iris_operator.api.status import ReleaseStatus
from iris_operator.api.stored_status import StoredStatus, read_status
from iris_operator.engine.analyze import Analyzer
from iris_operator.engine.execute import Executor, UnknownRevision
from iris_operator.engine.inputs import known_inputs
from iris_operator.engine.observe import (
    observe,
    revisions_without_backend_label,
    with_baseline,
    with_judgement,
    with_watch_judgement,
)
from iris_operator.engine.ownership import own_objects
from iris_operator.engine.pods import ready_pods
from iris_operator.engine.ports import (
    Conflict,
    EventRecorder,
    Forbidden,
    Json,
    Lister,
    NameTaken,
    Objects,
    Router,
    Store,
    Unavailable,
    Unverified,
)
from iris_operator.engine.release import InvalidRelease, Release, RevisionInputs, parse_release
from iris_operator.engine.snapshot import Snapshot, take_snapshot
from iris_operator.rollout.clock import correct_times
from iris_operator.rollout.decide import baseline_due, decide, judgement_due, watch_due
from iris_operator.rollout.decision import Decision
from iris_operator.rollout.report import degraded

log = logging.getLogger(__name__)

# After a failed reconcile: soon enough to be of use, and seldom enough not to add load.
RETRY_SECONDS = 5.0

_CONDITION_REASONS: Mapping[type[Exception], str] = {
    InvalidRelease: "InvalidSpec",
    Forbidden: "MissingRights",
    NameTaken: "NameTaken",
    Unverified: "Unverified",
    UnknownRevision: "UnknownRevision",
}


class Result(StrEnum):
    """How a reconcile ended: completely, by a conflict with another write, or by a failure."""

    DONE = "done"
    CONFLICT = "conflict"
    FAILED = "failed"


@dataclass(frozen=True)
class ReconcileOutcome:
    """When to reconcile again, in seconds, whether the resource is gone or may go, and what was observed.

    `snapshot` is None for a reconcile that failed before it learned anything new.
    """

    requeue_after: float
    finished: bool = False
    result: Result = Result.DONE
    snapshot: Snapshot | None = None


@dataclass(frozen=True)
class Ports:
    """The engine's dependencies. `routers` is by the name in `spec.traffic.router`."""

    store: Store
    objects: Objects
    lister: Lister
    routers: Mapping[str, Router]
    analyzer: Analyzer
    event_recorder: EventRecorder
    clock: Callable[[], datetime]


class Reconciler:
    """Reconciles releases. Holds no state of a release: what must survive is in its status."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def reconcile(self, namespace: str, name: str) -> ReconcileOutcome:
        """Reconcile once. A failure of this release is not raised but written to its status, and the others go on."""
        body = await self._read(namespace, name)
        if body is None:
            return ReconcileOutcome(0, finished=True)
        try:
            return await self._reconcile(body)
        except Conflict:
            log.info("the release changed during the reconcile; deciding again", extra=_log_fields(namespace, name))
            return ReconcileOutcome(0.2, result=Result.CONFLICT)
        except Unavailable as error:
            log.warning("the API server is not available: %s", error, extra=_log_fields(namespace, name))
            return ReconcileOutcome(error.retry_after, result=Result.FAILED)
        except tuple(_CONDITION_REASONS) as error:
            return await self._degrade(body, _CONDITION_REASONS[type(error)], str(error))
        except Exception as error:
            log.exception("reconcile failed", extra=_log_fields(namespace, name))
            return await self._degrade(body, "InternalError", f"{type(error).__name__}: {error}")

    async def _read(self, namespace: str, name: str) -> Json | None:
        return await self._ports.store.read(namespace, name)

    async def _reconcile(self, body: Json) -> ReconcileOutcome:
        ports, stored = self._ports, parse_release(body)
        now = ports.clock()
        watch_seconds = parse_duration(stored.spec.rollout.watch)
        release = replace(stored, status=correct_times(stored.status, watch_seconds, now))
        router = ports.routers[release.spec.traffic.router]
        owned = own_objects(release, ports.lister.owned_objects(release.namespace, release.name))
        observation = observe(release, owned, await router.read(release))
        if judgement_due(observation, now):
            observation = with_judgement(observation, await ports.analyzer.judge(release, owned, now))
        elif baseline_due(observation, now):
            observation = with_baseline(observation, await ports.analyzer.judge_baseline(release, owned, now))
        elif watch_due(observation, now):
            observation = with_watch_judgement(observation, await ports.analyzer.judge_watch(release, owned, now))
        decision = decide(observation, now)
        await self._store(body, stored.stored_status, decision.status)
        inputs = known_inputs(release, owned)
        try:
            unlabelled = revisions_without_backend_label(owned)
            await Executor(ports.objects, router).run(release, inputs, decision.actions, unlabelled)
        finally:
            # The intent is stored, so it will be carried out: it is recorded also when this attempt failed.
            await self._record_events(release, decision)
        workloads = [*observation.workloads.values(), *observation.control_groups.values()]
        snapshot = take_snapshot(decision.status, workloads, owned)
        return ReconcileOutcome(decision.requeue_after, finished=decision.deleted, snapshot=snapshot)

    async def _store(self, body: Json, before: StoredStatus, after: ReleaseStatus) -> None:
        if after != before.status:
            await self._ports.store.write_status(body, before.updated(after))

    async def _record_events(self, release: Release, decision: Decision) -> None:
        for event in decision.events:
            await self._ports.event_recorder.record(release, event)
        log.log(
            logging.INFO if decision.actions or decision.events or decision.deleted else logging.DEBUG,
            decision.reason,
            extra={
                **_log_fields(release.namespace, release.name),
                "phase": decision.status.phase.value,
                "reason": decision.status.rollout.reason,
                "weight": decision.status.weight,
                "step": decision.status.step_text,
                "revision": (
                    decision.status.canary or decision.status.stable or RevisionInputs.of(release.spec).ref
                ).revision,
                "actions": [str(action) for action in decision.actions],
            },
        )

    async def _degrade(self, body: Json, reason: str, message: str) -> ReconcileOutcome:
        """Change nothing, and say why in the status."""
        metadata = body["metadata"]
        snapshot = None
        try:
            stored = await self._read(metadata["namespace"], metadata["name"])
            if stored is None:
                return ReconcileOutcome(0, finished=True)
            status = read_status(stored.get("status"))
            before = status.status
            pods = self._ready_pods(stored, before)
            after = degraded(before, stored["metadata"]["generation"], reason, message, self._ports.clock(), pods)
            if after != before:
                log.error(
                    "%s: %s",
                    reason,
                    message,
                    extra={**_log_fields(metadata["namespace"], metadata["name"]), "reason": reason},
                )
                await self._ports.store.write_status(stored, status.updated(after))
            snapshot = Snapshot(after)
        except (Conflict, Forbidden, Unavailable) as error:
            log.warning(
                "the status of a degraded release was not written: %s",
                error,
                extra=_log_fields(metadata["namespace"], metadata["name"]),
            )
        finished = "deletionTimestamp" in metadata and await self._cannot_be_finalized(metadata["namespace"], reason)
        return ReconcileOutcome(RETRY_SECONDS, finished=finished, result=Result.FAILED, snapshot=snapshot)

    async def _cannot_be_finalized(self, namespace: str, reason: str) -> bool:
        """A release that cannot be parsed, or whose namespace goes with the operator's rights in it."""
        if reason == "MissingRights":
            return await self._ports.store.is_namespace_terminating(namespace)
        return reason == "InvalidSpec"

    def _ready_pods(self, body: Json, status: ReleaseStatus) -> int | None:
        """Ready pods of stable's version; None when that is not known."""
        if status.stable is None:
            return None
        metadata = body["metadata"]
        owned = self._ports.lister.owned_objects(metadata["namespace"], metadata["name"])
        return ready_pods(owned.pods, status.stable.revision)


def _log_fields(namespace: str, name: str) -> dict[str, str]:
    return {"namespace": namespace, "release": name}
