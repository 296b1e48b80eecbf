"""Carry out a decision's actions. Each is idempotent and stands alone: its failure is collected, and others go on."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping

from iris_operator.api import names
from iris_operator.api.status import RevisionRef
from iris_operator.engine.kinds import AUTOSCALER, DEPLOYMENT, DISRUPTION_BUDGET, ResourceKind
from iris_operator.engine.manifests import (
    control_group,
    control_service,
    deployment,
    needs_backend_label,
    service,
    shadow_config,
)
from iris_operator.engine.ownership import own_metadata
from iris_operator.engine.plan import Failure, Gate, describe, may_run, prepares_canary
from iris_operator.engine.ports import NotLeader, Objects, Router
from iris_operator.engine.release import Release, RevisionInputs
from iris_operator.engine.scaling_manifests import autoscaler, disruption_budget
from iris_operator.rollout.decision import (
    Action,
    ApplyAutoscaler,
    ApplyControlGroup,
    ApplyDisruptionBudget,
    ApplyShadowConfig,
    ApplyWorkload,
    DeleteAutoscaler,
    DeleteDisruptionBudget,
    DeleteWorkload,
    SelectRevision,
    SetWeight,
)

log = logging.getLogger(__name__)


class UnknownRevision(Exception):
    """A revision whose inputs are lost: the annotation of its Deployment was edited."""


class Executor:
    """The only writer of a release's objects."""

    def __init__(self, objects: Objects, router: Router) -> None:
        self._objects = objects
        self._router = router

    async def run(
        self,
        release: Release,
        inputs: Mapping[str, RevisionInputs],
        actions: Iterable[tuple[Action, Gate]],
        without_backend_label: Collection[str] = (),
        failures: Collection[Failure] = (),
    ) -> list[Failure]:
        """Run the actions whose gate allows it after earlier `failures`; returns all failures, those included.

        `without_backend_label` are revisions whose Deployments lack that label; they do not get it.

        Raises:
            NotLeader: another operator leads; nothing more is tried.
        """
        failures = list(failures)
        for action, gate in actions:
            if not may_run(gate, failures):
                continue
            try:
                await self._run_action(release, inputs, action, without_backend_label)
            except NotLeader:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told in the status and stops no other
                what = describe(release, action)
                log.warning("%s: %s", what, error, extra={"namespace": release.namespace, "release": release.name})
                failures.append(Failure(what, error, gate is Gate.PROTECTING, prepares_canary(action)))
        return failures

    async def _run_action(
        self,
        release: Release,
        inputs: Mapping[str, RevisionInputs],
        action: Action,
        without_backend_label: Collection[str],
    ) -> None:
        match action:
            case ApplyWorkload(ref, role, replicas, retired_at):
                labelled = ref.revision not in without_backend_label or needs_backend_label(release, role)
                wanted = deployment(
                    release, _inputs_of(inputs, ref), role, replicas, retired_at, backend_label=labelled
                )
                await (self._objects.apply_unscaled(wanted) if replicas is None else self._objects.apply(wanted))
            case ApplyControlGroup(stable, canary, replicas):
                await self._objects.apply(control_group(release, _inputs_of(inputs, stable), canary.revision, replicas))
            case DeleteWorkload(revision):
                await self._delete(release, DEPLOYMENT, names.workload_name(release.name, revision))
            case SelectRevision(backend, revision, with_control):
                name = names.stable_service if backend == "stable" else names.canary_service
                await self._objects.apply(service(release, name(release.name), revision, with_control=with_control))
            case SetWeight(weight):
                await self._router.set_weight(release, weight)
            case ApplyShadowConfig(revision, share, control):
                if control:
                    await self._objects.apply(control_service(release))
                await self._objects.apply(shadow_config(release, revision, share, control))
            case _:
                await self._run_scaling_action(release, action)

    async def _run_scaling_action(
        self,
        release: Release,
        action: ApplyAutoscaler | DeleteAutoscaler | ApplyDisruptionBudget | DeleteDisruptionBudget,
    ) -> None:
        match action:
            case ApplyAutoscaler(revision, shrinks):
                scaling = release.spec.serving.autoscaling
                assert scaling is not None, "decided only where the spec has it"  # noqa: S101 - an invariant of `decide`
                await self._objects.apply(autoscaler(release, scaling, revision, scale_down_allowed=shrinks))
            case DeleteAutoscaler():
                await self._delete(release, AUTOSCALER, names.autoscaler_name(release.name))
            case ApplyDisruptionBudget(revision, at_least):
                await self._objects.apply(disruption_budget(release, revision, at_least))
            case DeleteDisruptionBudget(revision):
                await self._delete(release, DISRUPTION_BUDGET, names.workload_name(release.name, revision))

    async def _delete(self, release: Release, kind: ResourceKind, name: str) -> None:
        await self._objects.delete({**kind.type_meta, "metadata": own_metadata(release, name)})


def _inputs_of(inputs: Mapping[str, RevisionInputs], ref: RevisionRef) -> RevisionInputs:
    """The inputs of a revision.

    Raises:
        UnknownRevision: they are lost.
    """
    found = inputs.get(ref.revision)
    if found is None:
        raise UnknownRevision(
            f"the inputs of revision {ref.revision} are unknown: the annotation {names.ANNOTATION_INPUTS} "
            f"of its Deployment was changed. Apply version {ref.version} again, or delete the Deployment"
        )
    return found
