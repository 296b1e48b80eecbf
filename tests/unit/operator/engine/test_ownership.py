"""An object that is not the release's own is never written, adopted or deleted; what it left behind is its own."""

from __future__ import annotations

from typing import Any

import pytest

from iris_operator.adapters.routers.ingress import CANARY_WEIGHT
from iris_operator.api import names
from iris_operator.api.spec import ReleaseSpec
from iris_operator.api.status import ReleaseStatus
from iris_operator.engine.kinds import AUTOSCALER, CONFIG_MAP, DEPLOYMENT, DISRUPTION_BUDGET, SERVICE
from iris_operator.engine.ownership import other_owner
from iris_operator.engine.ports import Json
from iris_operator.engine.release import RevisionInputs
from support.operator.api_server import ApiServer
from support.operator.simulation import AUTOSCALED, Simulation, at_share, manifest, phase, serving

UID = "uid-1"
INGRESS = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"}
SHADOWED = {"steps": [{"shadow": 20}, {"weight": 50}, {"weight": 100}], "interval": "5s"}


def revision(version: str, **changes: Any) -> str:
    return RevisionInputs.of(ReleaseSpec.model_validate(manifest(version, **changes)["spec"])).ref.revision


def foreign(type_meta: Json, name: str, **metadata: Any) -> dict[str, Any]:
    whole = {"name": name, "namespace": "iris", "uid": "theirs", "labels": {}, "resourceVersion": "1", **metadata}
    spec = {
        "replicas": 1,
        "selector": {},
        "template": {"metadata": {"labels": {}}, "spec": {"containers": [{"image": "theirs"}]}},
        "scaleTargetRef": {"name": "theirs"},
        "minReplicas": 1,
        "maxReplicas": 1,
    }
    return {**type_meta, "metadata": whole, "spec": spec, "data": {"plan.json": ""}}


def put(server: ApiServer, item: dict[str, Any]) -> None:
    server.objects[item["kind"], "iris", item["metadata"]["name"]] = item


def degraded(status: ReleaseStatus) -> tuple[str, str]:
    (condition,) = (each for each in status.conditions if each.type == "Degraded")
    return condition.reason, condition.message


FIRST, SECOND = revision("1.0.0"), revision("2.0.0")


@pytest.mark.parametrize(
    ("item", "version"),
    [
        (foreign(INGRESS, "iris"), "1.0.0"),
        (foreign(INGRESS, "iris-canary", annotations={CANARY_WEIGHT: "0"}), "1.0.0"),
        (foreign(SERVICE.type_meta, "iris-stable"), "1.0.0"),
        (foreign(DEPLOYMENT.type_meta, f"iris-{FIRST}"), "1.0.0"),
        (foreign(DISRUPTION_BUDGET.type_meta, f"iris-{FIRST}"), "1.0.0"),
        (foreign(AUTOSCALER.type_meta, "iris"), "1.0.0"),
        (foreign(SERVICE.type_meta, "iris-canary"), "2.0.0"),
        (foreign(DEPLOYMENT.type_meta, f"iris-{SECOND}"), "2.0.0"),
        (foreign(DEPLOYMENT.type_meta, f"iris-{FIRST}-control-{SECOND}"), "2.0.0"),
        (foreign(CONFIG_MAP.type_meta, "iris-shadow"), "2.0.0"),
    ],
    ids=lambda value: f"{value['kind']} {value['metadata']['name']}" if isinstance(value, dict) else value,
)
def test_an_object_of_somebody_else_is_left_alone_and_named(item: dict[str, Any], version: str) -> None:
    simulation, kind, name = Simulation(), item["kind"], item["metadata"]["name"]
    changes: dict[str, Any] = {"serving": AUTOSCALED} if kind == AUTOSCALER.kind else {"rollout": SHADOWED}
    if version == "2.0.0":
        simulation.apply("1.0.0", **changes)
        simulation.run(serving("1.0.0"))
    before = {**item, "metadata": {**item["metadata"]}}
    put(simulation.server, item)
    simulation.apply(version, **changes)
    status = simulation.run(phase("Degraded"))
    reason, message = degraded(status)
    assert reason == "NameTaken"
    assert f"{kind} {name} " in message
    simulation.run_for(30)
    assert simulation.server.objects[kind, "iris", name] == before
    del simulation.server.objects[kind, "iris", name]
    simulation.run(serving(version), seconds=1200)


def controlled_by(kind: str, name: str, uid: str, api_version: str = names.API_VERSION) -> list[dict[str, Any]]:
    return [{"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": True}]


OURS = {"labels": {names.LABEL_RELEASE: "iris"}}
APPLIED = {"managedFields": [{"manager": names.FIELD_MANAGER, "operation": "Apply", "fieldsV1": {}}]}
BY_HAND = {"managedFields": [{"manager": "kubectl-client-side-apply", "operation": "Update", "fieldsV1": {}}]}


@pytest.mark.parametrize(
    "metadata",
    [
        {**OURS, "ownerReferences": controlled_by(names.KIND, "iris", UID)},
        # A label that was taken off by hand: the release still controls it.
        {"labels": {}, "ownerReferences": controlled_by(names.KIND, "iris", UID)},
        # Deleted with --cascade=orphan, and applied again.
        {**OURS, **APPLIED},
        # Restored from a backup: the release has another uid than the one that the object remembers.
        {**OURS, "ownerReferences": controlled_by(names.KIND, "iris", "older")},
        {**OURS, **BY_HAND, "ownerReferences": controlled_by(names.KIND, "iris", "older")},
    ],
)
def test_what_the_release_controls_or_left_behind_is_its_own(metadata: dict[str, Any]) -> None:
    assert other_owner({"metadata": metadata}, "iris", UID) is None


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        ({}, "somebody else"),
        ({"labels": None}, "somebody else"),
        (APPLIED, "somebody else"),
        ({**OURS, **BY_HAND}, "somebody else (written by kubectl-client-side-apply)"),
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "Helm"),
        ({**APPLIED, "labels": {names.LABEL_RELEASE: "iris-stable"}}, "release iris-stable"),
        (
            {**OURS, **APPLIED, "ownerReferences": controlled_by("Rollout", "web", "7", "argoproj.io/v1alpha1")},
            "Rollout web",
        ),
        ({**OURS, "ownerReferences": controlled_by(names.KIND, "other", "7")}, "IrisModelRelease other"),
        (
            {**OURS, "ownerReferences": controlled_by(names.KIND, "iris", "7", "example.com/v1")},
            "IrisModelRelease iris",
        ),
    ],
)
def test_anything_else_belongs_to_somebody_who_is_named(metadata: dict[str, Any], owner: str) -> None:
    assert other_owner({"metadata": metadata}, "iris", UID) == owner


def test_objects_of_a_release_of_this_name_that_is_gone_get_the_new_owner_alone() -> None:
    """Two controllers would be refused, and what refers to an owner that is gone is garbage."""
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    for (kind, _, _), item in simulation.server.objects.items():
        if kind == names.KIND:
            item["metadata"]["uid"] = "uid-2"
        elif kind not in ("Pod", "EndpointSlice"):
            assert item["metadata"]["ownerReferences"][0]["uid"] == UID
    simulation.run_for(30)
    simulation.run(serving("1.0.0"))
    for (kind, _, name), item in simulation.server.objects.items():
        if kind not in ("Pod", "EndpointSlice", names.KIND):
            assert [each["uid"] for each in item["metadata"]["ownerReferences"]] == ["uid-2"], (kind, name)


def test_what_somebody_else_creates_in_the_same_moment_is_not_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    simulation, item = Simulation(), foreign(INGRESS, "iris")
    apply_new = simulation.server.apply_new

    async def meanwhile(body: Json) -> Json:
        if body["kind"] == "Ingress" and body["metadata"]["name"] == "iris":
            put(simulation.server, item)
        return await apply_new(body)

    monkeypatch.setattr(simulation.server, "apply_new", meanwhile)
    simulation.apply("1.0.0")
    reason, _ = degraded(simulation.run(phase("Degraded")))
    assert reason == "NameTaken"
    assert item["metadata"]["labels"] == {}


def test_an_object_that_is_replaced_between_the_look_and_the_write_is_not_overwritten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    item, apply = foreign(SERVICE.type_meta, "iris-stable"), simulation.server.apply
    simulation.server.objects["Service", "iris", "iris-stable"]["spec"]["selector"]["added"] = "by-hand"

    async def replaced(body: Json, **options: Any) -> Json:
        if body["kind"] == "Service":
            put(simulation.server, item)
        return await apply(body, **options)

    monkeypatch.setattr(simulation.server, "apply", replaced)
    simulation.run_for(10)
    assert simulation.server.objects["Service", "iris", "iris-stable"] is item
    assert item["metadata"]["labels"] == {}


def test_a_lower_weight_reaches_the_route_although_the_primary_ingress_is_somebody_elses() -> None:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0")
    simulation.run(at_share(10))
    put(simulation.server, foreign(INGRESS, "iris"))
    simulation.apply("1.0.0")
    simulation.run_for(10)
    assert simulation.weight == 0
    assert simulation.server.objects["Ingress", "iris", "iris"]["metadata"]["uid"] == "theirs"
