"""From the cluster's objects to the input of `decide`. Pure: the objects have been read before."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from iris_operator.api import names
from iris_operator.api.status import RevisionRef
from iris_operator.engine.annotations import annotations_of_people
from iris_operator.engine.breakage import breaking_additions
from iris_operator.engine.drift import is_current
from iris_operator.engine.inputs import known_inputs, target_inputs
from iris_operator.engine.manifests import (
    control_group,
    control_service,
    deployment,
    needs_backend_label,
    service,
    shadow_config,
)
from iris_operator.engine.ownership import is_owned
from iris_operator.engine.pods import crash_message, is_ready, probe_failure, waiting_reason
from iris_operator.engine.ports import Json, OwnedObjects
from iris_operator.engine.release import Release, RevisionInputs
from iris_operator.engine.scaling_manifests import autoscaler, disruption_budget
from iris_operator.rollout.observation import (
    AnalysisResult,
    Autoscaler,
    Backend,
    DisruptionBudget,
    Observation,
    Route,
    ShadowConfig,
    Workload,
)


def observe(release: Release, owned: OwnedObjects, route: Route) -> Observation:
    """The observation without a judgement, which is made only when it is due."""
    inputs = known_inputs(release, owned)
    revision_of_pod = {pod["metadata"]["name"]: _label(pod, names.LABEL_REVISION) for pod in owned.pods}
    return Observation(
        spec=release.spec,
        status=release.status,
        generation=release.generation,
        target=target_inputs(release, owned).ref,
        workloads={
            workload.ref.revision: workload
            for item in owned.deployments
            if not _is_control_group(item) and (workload := _workload(release, item, owned.pods, inputs)) is not None
        },
        control_groups={
            workload.ref.revision: workload
            for item in owned.deployments
            if _is_control_group(item) and (workload := _workload(release, item, owned.pods, inputs)) is not None
        },
        stable=_backend(release, names.stable_service(release.name), owned, revision_of_pod),
        canary=_backend(release, names.canary_service(release.name), owned, revision_of_pod),
        route=route,
        autoscaler=_autoscaler(release, owned),
        disruption_budgets=dict(_disruption_budgets(release, owned)),
        shadow_config=_shadow_config(release, owned),
        deleting=release.deleting,
        annotations=annotations_of_people(release),
        unreadable=release.stored_status.blocking,
        ignored=release.stored_status.ignored,
    )


def with_judgement(observation: Observation, result: AnalysisResult) -> Observation:
    """The same observation with the judgement of the canary."""
    return replace(_with_measurements(observation, result), judgement=result.judgement)


def with_baseline(observation: Observation, result: AnalysisResult) -> Observation:
    """The same observation with stable's baseline."""
    return replace(_with_measurements(observation, result), baseline=result.judgement)


def with_watch_judgement(observation: Observation, result: AnalysisResult) -> Observation:
    """The same observation with the judgement of the version that was promoted last."""
    return replace(_with_measurements(observation, result), watch_judgement=result.judgement)


def _with_measurements(observation: Observation, result: AnalysisResult) -> Observation:
    return replace(observation, judged_through=result.judged_through, requests_per_second=result.requests_per_second)


def revisions_without_backend_label(owned: OwnedObjects) -> frozenset[str]:
    """Revisions whose pods lack the label `backend`, which an older operator did not set."""
    return frozenset(
        _label(item, names.LABEL_REVISION)
        for item in owned.deployments
        if names.LABEL_BACKEND not in (item["spec"]["template"]["metadata"].get("labels") or {})
    )


def _is_control_group(item: Json) -> bool:
    return names.is_control_revision(_label(item, names.LABEL_REVISION))


def _workload(
    release: Release, item: Json, pods: Collection[Json], inputs: Mapping[str, RevisionInputs]
) -> Workload | None:
    revision = _label(item, names.LABEL_REVISION)
    if not revision:
        return None
    role = _label(item, names.LABEL_ROLE)
    replicas = int(item["spec"].get("replicas", 1))
    retired_at = _parse_time(item["metadata"].get("annotations", {}).get(names.ANNOTATION_RETIRED_AT))
    revision_inputs = inputs.get(revision)
    ref = (
        revision_inputs.ref
        if revision_inputs
        else RevisionRef(revision=revision, version=_label(item, names.LABEL_VERSION), image=_image(item))
    )
    own_pods = [pod for pod in pods if _label(pod, names.LABEL_REVISION) == revision and not _is_terminating(pod)]
    return Workload(
        ref=ref,
        role=role,
        replicas=replicas,
        ready=sum(map(is_ready, own_pods)),
        intact=is_current(item, wanted) if (wanted := _wanted(release, item, inputs)) else False,
        crash_message=next(filter(None, map(crash_message, own_pods)), ""),
        waiting_reason=next(filter(None, map(waiting_reason, own_pods)), _replica_failure(item)),
        probe_failure=next(filter(None, map(probe_failure, own_pods)), ""),
        retired_at=retired_at,
        replicas_owned=_applied_by_operator(item, "f:spec", "f:replicas"),
        owned=is_owned(release, item),
        inputs_known=revision_inputs is not None,
    )


def _wanted(release: Release, item: Json, inputs: Mapping[str, RevisionInputs]) -> Json | None:
    """What was applied for this Deployment, with its present role and number of pods; None without its inputs."""
    revision, role, replicas = (
        _label(item, names.LABEL_REVISION),
        _label(item, names.LABEL_ROLE),
        int(item["spec"].get("replicas", 1)),
    )
    if _is_control_group(item):
        stable = inputs.get(names.stable_of_control(revision))
        return control_group(release, stable, names.canary_of_control(revision), replicas) if stable else None
    found = inputs.get(revision)
    if found is None:
        return None
    retired_at = _parse_time(item["metadata"].get("annotations", {}).get(names.ANNOTATION_RETIRED_AT))
    # The pods of an older operator's Deployment are not replaced for the label; a canary with a control group needs it.
    backend_label = needs_backend_label(release, role) or names.LABEL_BACKEND in item["spec"]["template"][
        "metadata"
    ].get("labels", {})
    return deployment(release, found, role, replicas, retired_at, backend_label=backend_label)


def _autoscaler(release: Release, owned: OwnedObjects) -> Autoscaler | None:
    item = next(iter(owned.autoscalers), None)
    if item is None:
        return None
    spec, scaling = item["spec"], release.spec.serving.autoscaling
    revision = str(spec["scaleTargetRef"]["name"]).removeprefix(names.workload_name(release.name, ""))
    shrinks = spec.get("behavior", {}).get("scaleDown", {}).get("selectPolicy") != "Disabled"
    intact = scaling is not None and is_current(
        item, autoscaler(release, scaling, revision, scale_down_allowed=shrinks)
    )
    return Autoscaler(revision=revision, scale_down_allowed=shrinks, intact=intact)


def _disruption_budgets(release: Release, owned: OwnedObjects) -> Iterator[tuple[str, DisruptionBudget]]:
    for item in owned.disruption_budgets:
        revision, at_least = _label(item, names.LABEL_REVISION), item["spec"].get("minAvailable")
        yield (
            revision,
            DisruptionBudget(
                min_available=at_least, intact=is_current(item, disruption_budget(release, revision, at_least))
            ),
        )


def _shadow_config(release: Release, owned: OwnedObjects) -> ShadowConfig | None:
    item = next(
        (each for each in owned.config_maps if each["metadata"]["name"] == names.shadow_config(release.name)), None
    )
    if item is None:
        return None
    try:
        config = json.loads((item.get("data") or {}).get(names.SHADOW_FILE) or "null")
        if config is None:
            return ShadowConfig(None, intact=is_current(item, shadow_config(release, None, 0, "")))
        revision, share = str(config["revision"]), round(100 * float(config["share"]))
        control = str(config["control"]["revision"]) if "control" in config else ""
    except (ValueError, KeyError, TypeError, OverflowError):
        return ShadowConfig(None, intact=False)
    intact = is_current(item, shadow_config(release, revision, share, control))
    if control:
        intact = intact and any(_serves_as(each, control_service(release)) for each in owned.services)
    return ShadowConfig(revision, share, control, intact=intact)


def _applied_by_operator(item: Json, *path: str) -> bool:
    """Does the operator's field manager own the field by its last apply?"""
    for entry in item["metadata"].get("managedFields", []):
        if (entry["manager"], entry["operation"]) != (names.FIELD_MANAGER, "Apply") or entry.get("subresource"):
            continue
        fields: Any = entry["fieldsV1"]
        for step in path:
            fields = fields.get(step) if isinstance(fields, Mapping) else None
        if fields is not None:
            return True
    return False


def _backend(release: Release, name: str, owned: OwnedObjects, revision_of_pod: Mapping[str, str]) -> Backend:
    found = next((item for item in owned.services if item["metadata"]["name"] == name), None)
    if found is None:
        return Backend(selects=None)
    selector = found["spec"].get("selector") or {}
    with_control = names.LABEL_BACKEND in selector
    revision = selector.get(names.LABEL_BACKEND if with_control else names.LABEL_REVISION, "")
    ready: dict[str, int] = {}
    for item in owned.endpoint_slices:
        if item["metadata"].get("labels", {}).get("kubernetes.io/service-name") != name:
            continue
        for endpoint in item.get("endpoints") or []:
            if endpoint.get("conditions", {}).get("ready"):
                pod = endpoint.get("targetRef", {}).get("name", "")
                owner = revision_of_pod.get(pod, "unknown")
                ready[owner] = ready.get(owner, 0) + 1
    wanted = service(release, name, revision, with_control=with_control)
    return Backend(selects=revision, intact=_serves_as(found, wanted), ready=ready, with_control=with_control)


def _serves_as(item: Json, wanted: Json) -> bool:
    """Is the Service as it is applied, and is nothing added to it that breaks it?"""
    return is_current(item, wanted) and not breaking_additions(item, wanted)


def _image(item: Json) -> str:
    containers = item["spec"]["template"]["spec"]["containers"]
    return next((str(each.get("image", "")) for each in containers if each["name"] == names.CONTAINER), "")


def _replica_failure(item: Json) -> str:
    """Why no pods can be created, as a quota or an admission policy; empty when they can."""
    for condition in item.get("status", {}).get("conditions", []):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return str(condition.get("message", ""))
    return ""


def _is_terminating(pod: Json) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _label(item: Json, name: str) -> str:
    labels: Mapping[str, Any] = item["metadata"].get("labels") or {}
    return str(labels.get(name, ""))


def _parse_time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
