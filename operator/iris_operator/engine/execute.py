"""Carry out a decision's actions, in order. Each is idempotent; the first failure ends the pass."""

from __future__ import annotations

from collections.abc import Mapping

from iris_operator.api import names
from iris_operator.engine.manifests import deployment, service
from iris_operator.engine.ports import Objects, Router
from iris_operator.engine.release import Inputs, Release
from iris_operator.rollout.decision import Action, ApplyWorkload, DeleteWorkload, PointService, SetWeight


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
                await self._objects.apply(deployment(release, made_of, role, replicas, retired_at))
            case DeleteWorkload(revision):
                await self._objects.delete(
                    {
                        "apiVersion": "apps/v1",
                        "kind": "Deployment",
                        "metadata": {
                            "name": names.workload_name(release.name, revision),
                            "namespace": release.namespace,
                        },
                    }
                )
            case PointService("stable", revision):
                await self._objects.apply(service(release, names.stable_service(release.name), revision))
            case PointService("canary", revision):
                await self._objects.apply(service(release, names.canary_service(release.name), revision))
            case SetWeight(weight):
                await self._router.set_weight(release, weight)
