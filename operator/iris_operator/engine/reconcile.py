"""One reconcile of one release: read, decide, protect the traffic, store the intent, act."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from iris_operator.api.durations import parse_duration
from iris_operator.api.status import ReleaseStatus
from iris_operator.api.stored_status import read_status
from iris_operator.engine.analyze import Analyzer
from iris_operator.engine.backoff import Key, Retries
from iris_operator.engine.execute import Executor
from iris_operator.engine.failures import CONDITION_REASONS, reason_of, to_tell
from iris_operator.engine.inputs import known_inputs
from iris_operator.engine.judge_due import judge_due
from iris_operator.engine.judgements import JudgementFailed, Judgements
from iris_operator.engine.observe import observe, revisions_without_backend_label
from iris_operator.engine.ownership import own_objects
from iris_operator.engine.plan import Failure, Gate, protecting_first
from iris_operator.engine.pods import ready_pods
from iris_operator.engine.ports import (
    Conflict,
    EventRecorder,
    Forbidden,
    Json,
    Lister,
    NotLeader,
    Objects,
    OwnedObjects,
    Refused,
    Router,
    ServerError,
    Store,
    Unavailable,
)
from iris_operator.engine.records import log_fields, record
from iris_operator.engine.release import Release, parse_release
from iris_operator.engine.snapshot import Snapshot, take_snapshot
from iris_operator.engine.status_writer import StatusWriter, UnstoredRollbacks, without_analysis
from iris_operator.rollout.clock import correct_times
from iris_operator.rollout.decide import decide
from iris_operator.rollout.decision import Decision
from iris_operator.rollout.observation import Observation
from iris_operator.rollout.report import degraded, still_degraded

log = logging.getLogger(__name__)

# Decisions in one reconcile, when the release changes meanwhile. The last one's traffic is withdrawn in any case.
_DECISIONS = 3


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
    """The engine's dependencies. `routers` is by the name in `spec.traffic.router`, `random` gives 0 to 1."""

    store: Store
    objects: Objects
    lister: Lister
    routers: Mapping[str, Router]
    analyzer: Analyzer
    judgements: Judgements
    event_recorder: EventRecorder
    clock: Callable[[], datetime]
    random: Callable[[], float]


@dataclass
class _Reconcile:
    """What one reconcile works with, and what has failed in it."""

    release: Release
    owned: OwnedObjects
    observation: Observation
    writer: StatusWriter
    failures: list[Failure] = field(default_factory=list)


class Reconciler:
    """Reconciles releases. What must survive of a release is in its status; here is what could not be stored there."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._retries = Retries(ports.random)
        self._unstored = UnstoredRollbacks()

    async def reconcile(self, namespace: str, name: str) -> ReconcileOutcome:
        """Reconcile once. A failure of this release is not raised but written to its status, and the others go on."""
        key = (namespace, name)
        body: Json | None = None
        try:
            for attempt in range(_DECISIONS):
                body = await self._ports.store.read(namespace, name)
                if body is None:
                    self._ports.judgements.forget(key)
                    return ReconcileOutcome(0, finished=True)
                try:
                    return await self._reconcile(body, last=attempt == _DECISIONS - 1)
                except NotLeader:
                    log.info("another operator leads", extra=log_fields(*key))
                    break
                except Conflict:
                    log.info("the release changed during the reconcile; deciding again", extra=log_fields(*key))
            return self._failed(key, Conflict())
        except Unavailable as error:
            log.warning("the API server is not available: %s", error, extra=log_fields(*key))
            return self._failed(key, error)
        except tuple(CONDITION_REASONS) as error:
            return await self._degrade(key, body, error, str(error))
        except Exception as error:
            log.exception("reconcile failed", extra=log_fields(*key))
            return await self._degrade(key, body, error, f"{type(error).__name__}: {error}")

    async def _reconcile(self, body: Json, *, last: bool) -> ReconcileOutcome:
        ports, stored = self._ports, parse_release(body)
        now = ports.clock()
        router = ports.routers[stored.spec.traffic.router]
        writer = StatusWriter(ports.store, body, stored.stored_status)
        known = self._unstored.status(_key(stored), stored.status)
        release = replace(stored, status=correct_times(known, parse_duration(stored.spec.rollout.watch), now))
        owned = own_objects(release, ports.lister.owned_objects(release.namespace, release.name))
        this = _Reconcile(release, owned, observe(release, owned, await router.read(release)), writer)
        try:
            this.observation = await judge_due(this.observation, release, owned, now, ports.analyzer, ports.judgements)
        except JudgementFailed as error:
            this.failures.append(Failure("judgement", error))
        decision = decide(this.observation, now)
        intended = await self._store_and_act(this, decision, router, last=last)
        kept = self._unstored.keep(_key(release), writer.stored, None if intended else decision.status)
        if intended or kept:
            # The intent is stored, or at least known here, and will be carried out: also when this attempt failed.
            await record(ports.event_recorder, release, decision)
        # A rollback is to be stored as soon as anything is; other intents are decided again.
        return await self._conclude(this, decision, intended or (decision.status if kept else writer.stored), now)

    async def _store_and_act(
        self, this: _Reconcile, decision: Decision, router: Router, *, last: bool
    ) -> ReleaseStatus | None:
        """Store the intent, then act; what protects traffic, also without. Returns what is to be the status, if any."""
        release, executor = this.release, Executor(self._ports.objects, router)
        inputs = known_inputs(release, this.owned)
        unlabelled = revisions_without_backend_label(this.owned)
        protecting, others = protecting_first(decision, this.observation)
        intended = decision.status
        refusal: Exception | None = None
        try:
            await this.writer.write(self._intent(this, decision, intended))
        except Conflict as error:
            if not last or isinstance(error, NotLeader):
                raise
            refusal = error
        except (Forbidden, Refused, Unavailable) as error:
            refusal = error
        this.failures = await executor.run(
            release, inputs, [(action, Gate.PROTECTING) for action in protecting], unlabelled, this.failures
        )
        if refusal is not None:
            this.failures.insert(0, Failure("status", refusal))
            if not self._is_refusal_of_status(this, refusal):
                return None
            intended = without_analysis(intended)
            try:
                await this.writer.write(self._intent(this, decision, intended))
            except (Conflict, Forbidden, Refused, Unavailable) as error:
                log.warning("not even a part of the status is accepted: %s", error, extra=log_fields(*_key(release)))
                return None
        this.failures = await executor.run(release, inputs, others, unlabelled, this.failures)
        return intended

    def _intent(self, this: _Reconcile, decision: Decision, intended: ReleaseStatus) -> ReleaseStatus:
        """What is stored before the actions: one that failed stays so until they have succeeded."""
        if this.release.deleting or not (decision.actions or this.failures):
            return intended
        return still_degraded(this.release.status, intended, self._ports.clock())

    def _is_refusal_of_status(self, this: _Reconcile, error: Exception) -> bool:
        """Is the status itself at fault? A server error may be an outage, and is not if it repeats."""
        repeated = self._retries.has_failed(_key(this.release))
        return isinstance(error, Refused) or (isinstance(error, ServerError) and repeated)

    async def _conclude(
        self, this: _Reconcile, decision: Decision, status: ReleaseStatus, now: datetime
    ) -> ReconcileOutcome:
        """Say in the status what has failed, or that nothing has."""
        key, failures = _key(this.release), this.failures
        workloads = [*this.observation.workloads.values(), *this.observation.control_groups.values()]
        if told := to_tell(failures, repeated=self._retries.has_failed(key)):
            message = "; ".join(f"{failure.what}: {failure.error}" for failure in told)
            # Failing since when: by the failure before, if there was one.
            since = still_degraded(this.release.status, status, now)
            pods = _stable_pods(status, this.owned)
            status = degraded(since, this.release.generation, reason_of(told[0].error), message, now, pods)
        try:
            await this.writer.write(status)
        except (Conflict, Forbidden, Refused, Unavailable) as error:
            failures.append(Failure("status", error))
        snapshot = take_snapshot(status, workloads, this.owned)
        if not failures:
            self._retries.succeeded(key)
            if decision.deleted:
                self._ports.judgements.forget(key)
            return ReconcileOutcome(decision.requeue_after, finished=decision.deleted, snapshot=snapshot)
        errors = [each.error for each in failures]
        outcome = self._failed(key, *errors, requeue_after=decision.requeue_after, snapshot=snapshot)
        forbidden = any(isinstance(error, Forbidden) for error in errors)
        if this.release.deleting and forbidden and await self._ports.store.is_namespace_terminating(key[0]):
            # It goes with the operator's rights in it.
            outcome = replace(outcome, finished=True)
        return outcome

    def _failed(
        self, key: Key, *errors: Exception, requeue_after: float | None = None, snapshot: Snapshot | None = None
    ) -> ReconcileOutcome:
        conflict = all(isinstance(error, Conflict) for error in errors)
        wait = self._retries.failed(key, errors, requeue_after)
        return ReconcileOutcome(wait, result=Result.CONFLICT if conflict else Result.FAILED, snapshot=snapshot)

    async def _degrade(self, key: Key, body: Json | None, cause: Exception, message: str) -> ReconcileOutcome:
        """Change nothing, and say why in the status."""
        snapshot, reason = None, reason_of(cause)
        try:
            stored = await self._ports.store.read(*key)
            if stored is None:
                return ReconcileOutcome(0, finished=True)
            status = read_status(stored.get("status"))
            before = status.status
            pods = _stable_pods(before, self._ports.lister.owned_objects(*key))
            after = degraded(before, stored["metadata"]["generation"], reason, message, self._ports.clock(), pods)
            if after != before:
                log.error("%s: %s", reason, message, extra={**log_fields(*key), "reason": reason})
                await self._ports.store.write_status(stored, status.updated(after))
            snapshot = Snapshot(after)
        except (Conflict, Forbidden, Refused, Unavailable) as error:
            log.warning("the status of a degraded release was not written: %s", error, extra=log_fields(*key))
        deleted = body is not None and "deletionTimestamp" in body["metadata"]
        finished = deleted and await self._cannot_be_finalized(key[0], reason)
        return replace(self._failed(key, cause, snapshot=snapshot), finished=finished)

    async def _cannot_be_finalized(self, namespace: str, reason: str) -> bool:
        """A release that cannot be parsed, or whose namespace goes with the operator's rights in it."""
        if reason == "MissingRights":
            return await self._ports.store.is_namespace_terminating(namespace)
        return reason == "InvalidSpec"


def _stable_pods(status: ReleaseStatus, owned: OwnedObjects) -> int | None:
    """Ready pods of stable's version; None when that is not known."""
    return None if status.stable is None else ready_pods(owned.pods, status.stable.revision)


def _key(release: Release) -> tuple[str, str]:
    return release.namespace, release.name
