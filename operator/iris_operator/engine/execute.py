"""Carry out a decision's actions, in order. Each is idempotent; the first failure ends the pass."""

from __future__ import annotations

from collections.abc import Mapping

from iris_operator.api import names
from iris_operator.engine.guards import AUTOSCALER, AUTOSCALING, BUDGET, POLICY, autoscaler, budget
from iris_operator.engine.manifests import deployment, service, shadow_plan
from iris_operator.engine.ports import Objects, Router
from iris_operator.engine.release import Inputs, Release
from iris_operator.rollout.decision import (
    Action,
    ApplyWorkload,
    Autoscale,
    DeleteWorkload,
    Mirror,
    PointService,
    Protect,
    SetWeight,
    StopAutoscaling,
    Unprotect,
)


class UnknownRevision(Exception):
    """A revision whose inputs nobody remembers: its Deployment was tampered with."""


class Executor:
    """The only writer of a release's objects."""

    def __init__(self, objects: Objects, router: Router) -> None:
        self._objects = objects
        self._router = router

    async def run(self, release: Release, inputs: Mapping[str, Inputs], actions: tuple[Action, ...]) -> None:
        """Run the actions.

        Raises:
            UnknownRevision: what a revision is made of is not known any more.
            Conflict, Forbidden, Unavailable, Unverified: see `ports`.
        """
        for action in actions:
            await self._run(release, inputs, action)

    async def _run(self, release: Release, inputs: Mapping[str, Inputs], action: Action) -> None:
        match action:
            case ApplyWorkload(ref, role, replicas, retired_at):
                made_of = inputs.get(ref.revision)
                if made_of is None:
                    raise UnknownRevision(
                        f"what revision {ref.revision} is made of is unknown: the annotation {names.ANNOTATION_INPUTS} "
                        f"of its Deployment was changed. Apply version {ref.version} again, or delete the Deployment"
                    )
                wanted = deployment(release, made_of, role, replicas, retired_at)
                await (self._objects.apply_unscaled(wanted) if replicas is None else self._objects.apply(wanted))
            case DeleteWorkload(revision):
                await self._delete(release, "apps/v1", "Deployment", names.workload_name(release.name, revision))
            case PointService(backend, revision):
                name = names.stable_service if backend == "stable" else names.canary_service
                await self._objects.apply(service(release, name(release.name), revision))
            case SetWeight(weight):
                await self._router.set_weight(release, weight)
            case Mirror(revision, share):
                await self._objects.apply(shadow_plan(release, revision, share))
            case _:
                await self._guard(release, action)

    async def _guard(self, release: Release, action: Autoscale | StopAutoscaling | Protect | Unprotect) -> None:
        match action:
            case Autoscale(revision, shrinks):
                scaling = release.spec.serving.autoscaling
                assert scaling is not None, "asked for only where the spec has it"  # noqa: S101 - an invariant of `decide`
                await self._objects.apply(autoscaler(release, scaling, revision, shrinks=shrinks))
            case StopAutoscaling():
                await self._delete(release, AUTOSCALING, AUTOSCALER, names.autoscaler_name(release.name))
            case Protect(revision, at_least):
                await self._objects.apply(budget(release, revision, at_least))
            case Unprotect(revision):
                await self._delete(release, POLICY, BUDGET, names.workload_name(release.name, revision))

    async def _delete(self, release: Release, api_version: str, kind: str, name: str) -> None:
        metadata = {"namespace": release.namespace, "name": name}
        await self._objects.delete({"apiVersion": api_version, "kind": kind, "metadata": metadata})
