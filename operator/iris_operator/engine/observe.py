"""From the cluster's objects to the observation that `decide` reads. Pure: all reading has been done."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from iris_operator.api import names
from iris_operator.api.status import RevisionRef
from iris_operator.engine.drift import says
from iris_operator.engine.guards import autoscaler, budget
from iris_operator.engine.manifests import deployment, service, shadow_plan
from iris_operator.engine.pods import crash_of, is_ready, waiting_of
from iris_operator.engine.ports import Children, Json
from iris_operator.engine.release import Inputs, Release
from iris_operator.rollout.observation import (
    Autoscaler,
    Backend,
    Budget,
    Judged,
    Observation,
    Route,
    Shadowing,
    Workload,
)


def observe(release: Release, children: Children, route: Route) -> Observation:
    """Everything but a judgement, which is asked for only when it is due."""
    target = Inputs.of(release.spec)
    inputs = {**kept_inputs(children), target.ref.revision: target}
    revision_of_pod = {pod["metadata"]["name"]: _label(pod, names.LABEL_REVISION) for pod in children.pods}
    return Observation(
        spec=release.spec,
        status=release.status,
        generation=release.generation,
        target=target.ref,
        workloads={
            workload.ref.revision: workload
            for item in children.deployments
            if (workload := _workload(release, item, children.pods, inputs)) is not None
        },
        stable=_backend(release, names.stable_service(release.name), children, revision_of_pod),
        canary=_backend(release, names.canary_service(release.name), children, revision_of_pod),
        route=route,
        autoscaler=_autoscaler(release, children),
        budgets=dict(_budgets(release, children)),
        shadowing=_shadowing(release, children),
        deleting=release.deleting,
        approved=release.annotations.get(names.ANNOTATION_APPROVED),
        retry=release.annotations.get(names.ANNOTATION_RETRY),
    )


def with_judgement(observation: Observation, judged: Judged) -> Observation:
    """The same observation with what the checks say."""
    return replace(_measured(observation, judged), judgement=judged.judgement)


def with_lesson(observation: Observation, learned: Judged) -> Observation:
    """The same observation with what stable alone has taught."""
    return replace(_measured(observation, learned), lesson=learned.judgement)


def _measured(observation: Observation, judged: Judged) -> Observation:
    return replace(observation, judged_through=judged.through, requests_per_second=judged.requests_per_second)


def kept_inputs(children: Children) -> dict[str, Inputs]:
    """What each revision is made of, as kept on its Deployment; one that was tampered with is left out."""
    found: dict[str, Inputs] = {}
    for item in children.deployments:
        text = item["metadata"].get("annotations", {}).get(names.ANNOTATION_INPUTS, "")
        try:
            inputs = Inputs.from_text(text)
        except (ValueError, KeyError, TypeError):
            continue
        if inputs.ref.revision == _label(item, names.LABEL_REVISION):
            found[inputs.ref.revision] = inputs
    return found


def _workload(release: Release, item: Json, pods: Collection[Json], inputs: Mapping[str, Inputs]) -> Workload | None:
    revision = _label(item, names.LABEL_REVISION)
    if not revision:
        return None
    role = _label(item, names.LABEL_ROLE)
    replicas = int(item["spec"].get("replicas", 1))
    retired_at = _moment(item["metadata"].get("annotations", {}).get(names.ANNOTATION_RETIRED_AT))
    made_of = inputs.get(revision)
    intact = made_of is not None and says(item, deployment(release, made_of, role, replicas, retired_at))
    ref = (
        made_of.ref if made_of else RevisionRef(revision=revision, version=_label(item, names.LABEL_VERSION), image="")
    )
    mine = [pod for pod in pods if _label(pod, names.LABEL_REVISION) == revision and not _leaving(pod)]
    return Workload(
        ref=ref,
        role=role,
        replicas=replicas,
        ready=sum(map(is_ready, mine)),
        intact=intact,
        crash=next(filter(None, map(crash_of, mine)), ""),
        waiting=next(filter(None, map(waiting_of, mine)), _progress(item)),
        retired_at=retired_at,
        scaled_by_us=_applied_by_us(item, "f:spec", "f:replicas"),
    )


def _autoscaler(release: Release, children: Children) -> Autoscaler | None:
    item = next(iter(children.autoscalers), None)
    if item is None:
        return None
    spec, scaling = item["spec"], release.spec.serving.autoscaling
    revision = str(spec["scaleTargetRef"]["name"]).removeprefix(names.workload_name(release.name, ""))
    shrinks = spec.get("behavior", {}).get("scaleDown", {}).get("selectPolicy") != "Disabled"
    intact = scaling is not None and says(item, autoscaler(release, scaling, revision, shrinks=shrinks))
    return Autoscaler(revision=revision, shrinks=shrinks, intact=intact)


def _budgets(release: Release, children: Children) -> Iterator[tuple[str, Budget]]:
    for item in children.budgets:
        revision, at_least = _label(item, names.LABEL_REVISION), item["spec"].get("minAvailable")
        yield revision, Budget(at_least=at_least, intact=says(item, budget(release, revision, at_least)))


def _shadowing(release: Release, children: Children) -> Shadowing | None:
    item = next((one for one in children.plans if one["metadata"]["name"] == names.shadow_plan(release.name)), None)
    if item is None:
        return None
    try:
        told = json.loads((item.get("data") or {}).get(names.SHADOW_FILE) or "null")
        revision, share = (None, 0) if told is None else (str(told["revision"]), round(100 * float(told["share"])))
    except (ValueError, KeyError, TypeError, OverflowError):
        return Shadowing(None, intact=False)
    return Shadowing(revision, share, intact=says(item, shadow_plan(release, revision, share)))


def _applied_by_us(item: Json, *path: str) -> bool:
    """Is the field ours by our last apply?"""
    for entry in item["metadata"].get("managedFields", []):
        if (entry["manager"], entry["operation"]) != (names.FIELD_MANAGER, "Apply") or entry.get("subresource"):
            continue
        fields: Any = entry["fieldsV1"]
        for step in path:
            fields = fields.get(step) if isinstance(fields, Mapping) else None
        if fields is not None:
            return True
    return False


def _backend(release: Release, name: str, children: Children, revision_of_pod: Mapping[str, str]) -> Backend:
    found = next((item for item in children.services if item["metadata"]["name"] == name), None)
    if found is None:
        return Backend(selects=None)
    revision = found["spec"].get("selector", {}).get(names.LABEL_REVISION, "")
    ready: dict[str, int] = {}
    for item in children.endpoint_slices:
        if item["metadata"].get("labels", {}).get("kubernetes.io/service-name") != name:
            continue
        for endpoint in item.get("endpoints") or []:
            if endpoint.get("conditions", {}).get("ready"):
                pod = endpoint.get("targetRef", {}).get("name", "")
                owner = revision_of_pod.get(pod, "unknown")
                ready[owner] = ready.get(owner, 0) + 1
    return Backend(selects=revision, intact=says(found, service(release, name, revision)), ready=ready)


def _progress(item: Json) -> str:
    """Why there are no pods at all: a quota, an admission policy."""
    for condition in item.get("status", {}).get("conditions", []):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return str(condition.get("message", ""))
    return ""


def _leaving(pod: Json) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _label(item: Json, name: str) -> str:
    labels: Mapping[str, Any] = item["metadata"].get("labels") or {}
    return str(labels.get(name, ""))


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
