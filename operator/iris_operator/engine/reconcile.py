"""One pass over one release: read, decide, store the intent, act."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from iris_operator.api.status import ReleaseStatus
from iris_operator.engine.execute import Executor, UnknownRevision
from iris_operator.engine.judging import Judging
from iris_operator.engine.observe import kept_inputs, observe, with_judgement, with_lesson
from iris_operator.engine.ports import (
    Audience,
    Conflict,
    Forbidden,
    Json,
    Objects,
    Router,
    Store,
    Unavailable,
    Unverified,
    Watched,
)
from iris_operator.engine.release import BrokenRelease, Inputs, Release, parse_release, parse_status
from iris_operator.engine.sighting import Sighting, sight
from iris_operator.rollout.decide import decide, judgement_due, lesson_due
from iris_operator.rollout.decision import Decision
from iris_operator.rollout.report import degraded

log = logging.getLogger(__name__)

# After a pass that could not be made: soon enough to be of use, seldom enough not to add to the trouble.
RETRY_SECONDS = 5.0

_REASONS: Mapping[type[Exception], str] = {
    BrokenRelease: "InvalidSpec",
    Forbidden: "MissingRights",
    Unverified: "Unverified",
    UnknownRevision: "UnknownRevision",
}


class Result(StrEnum):
    """How a pass ended: all of it was done, somebody else was faster, or something was in its way."""

    DONE = "done"
    CONFLICT = "conflict"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """When to look again, in seconds, whether the resource is gone or may go, and what there is to measure.

    `sighting` is None for a pass that did not get as far as to know anything new.
    """

    wake_after: float
    finished: bool = False
    result: Result = Result.DONE
    sighting: Sighting | None = None


@dataclass(frozen=True)
class Ports:
    """The world, as the engine needs it. `routers` is by the name in `spec.traffic.router`."""

    store: Store
    objects: Objects
    watched: Watched
    routers: Mapping[str, Router]
    judging: Judging
    audience: Audience
    clock: Callable[[], datetime]


class Reconciler:
    """Makes passes. Holds no state of a release: what must survive is in its status."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def run(self, namespace: str, name: str) -> Outcome:
        """One pass. Never raises for trouble of this release: it is put into its status, and the others go on."""
        body = await self._read(namespace, name)
        if body is None:
            return Outcome(0, finished=True)
        try:
            return await self._pass(body)
        except Conflict:
            log.info("changed while it was read; deciding again", extra=_where(namespace, name))
            return Outcome(0.2, result=Result.CONFLICT)
        except Unavailable as error:
            log.warning("the API server is not available: %s", error, extra=_where(namespace, name))
            return Outcome(error.retry_after, result=Result.FAILED)
        except tuple(_REASONS) as error:
            return await self._degrade(body, _REASONS[type(error)], str(error))
        except Exception as error:
            log.exception("a pass failed", extra=_where(namespace, name))
            return await self._degrade(body, "InternalError", f"{type(error).__name__}: {error}")

    async def _read(self, namespace: str, name: str) -> Json | None:
        return await self._ports.store.read(namespace, name)

    async def _pass(self, body: Json) -> Outcome:
        ports, release = self._ports, parse_release(body)
        now = ports.clock()
        router = ports.routers[release.spec.traffic.router]
        children = ports.watched.children(release.namespace, release.name)
        observation = observe(release, children, await router.read(release))
        if judgement_due(observation, now):
            observation = with_judgement(observation, await ports.judging.judge(release, children, now))
        elif lesson_due(observation, now):
            observation = with_lesson(observation, await ports.judging.learn(release, children, now))
        decision = decide(observation, now)
        await self._store(body, release.status, decision.status)
        target = Inputs.of(release.spec)
        inputs = {**kept_inputs(children), target.ref.revision: target}
        try:
            await Executor(ports.objects, router).run(release, inputs, decision.actions)
        finally:
            # The intent is stored, so it will be carried out: people hear of it also when this attempt failed.
            await self._tell(release, decision)
        sighting = sight(decision.status, observation.workloads.values(), children)
        return Outcome(decision.wake_after, finished=decision.deleted, sighting=sighting)

    async def _store(self, body: Json, before: ReleaseStatus, after: ReleaseStatus) -> None:
        if after != before:
            await self._ports.store.write_status(body, after.to_json())

    async def _tell(self, release: Release, decision: Decision) -> None:
        for notice in decision.notices:
            await self._ports.audience.tell(release, notice)
        log.log(
            logging.INFO if decision.actions or decision.notices or decision.deleted else logging.DEBUG,
            decision.reason,
            extra={
                **_where(release.namespace, release.name),
                "phase": decision.status.phase.value,
                "reason": decision.status.rollout.reason,
                "weight": decision.status.weight,
                "step": decision.status.step_text,
                "revision": (decision.status.canary or decision.status.stable or Inputs.of(release.spec).ref).revision,
                "actions": [str(action) for action in decision.actions],
            },
        )

    async def _degrade(self, body: Json, reason: str, message: str) -> Outcome:
        """Nothing moves; the status says why."""
        metadata = body["metadata"]
        sighting = None
        try:
            fresh = await self._read(metadata["namespace"], metadata["name"])
            if fresh is None:
                return Outcome(0, finished=True)
            before = _readable_status(fresh)
            after = degraded(before, fresh["metadata"]["generation"], reason, message, self._ports.clock())
            if after != before:
                log.error(
                    "%s: %s",
                    reason,
                    message,
                    extra={**_where(metadata["namespace"], metadata["name"]), "reason": reason},
                )
                await self._ports.store.write_status(fresh, after.to_json())
            sighting = Sighting(after)
        except (Conflict, Forbidden, Unavailable) as error:
            log.warning(
                "could not say that the release is degraded: %s",
                error,
                extra=_where(metadata["namespace"], metadata["name"]),
            )
        # A release that is being deleted and cannot be understood has nothing that we could take apart in order.
        broken_and_going = reason == "InvalidSpec" and "deletionTimestamp" in metadata
        return Outcome(RETRY_SECONDS, finished=broken_and_going, result=Result.FAILED, sighting=sighting)


def _readable_status(body: Json) -> ReleaseStatus:
    try:
        return parse_status(body)
    except BrokenRelease:
        return ReleaseStatus()


def _where(namespace: str, name: str) -> dict[str, str]:
    return {"namespace": namespace, "release": name}
