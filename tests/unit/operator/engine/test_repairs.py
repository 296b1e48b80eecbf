"""What others change on the release's objects, and what is taken out of the release, at every stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from iris_operator.api import names
from iris_operator.api.status import ReleaseStatus
from support.operator.simulation import Simulation, at_share, serving

APPROVALS = {
    "steps": [{"weight": 10, "approval": True}, {"weight": 50, "approval": True}, {"weight": 100}],
    "interval": "5s",
}
CANARY_BY_HEADER = "nginx.ingress.kubernetes.io/canary-by-header"


def reason(name: str) -> Callable[[ReleaseStatus], bool]:
    return lambda status: status.rollout.reason == name


def first_version() -> Simulation:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    return simulation


def stable() -> Simulation:
    return first_version()


def awaiting_the_first_approval() -> Simulation:
    simulation = first_version()
    simulation.apply("2.0.0", rollout=APPROVALS)
    simulation.run(reason("AwaitingApproval"))
    return simulation


def awaiting_the_second_approval() -> Simulation:
    simulation = awaiting_the_first_approval()
    body = simulation.server.objects[names.KIND, "iris", "iris"]
    body["metadata"]["annotations"] = {names.ANNOTATION_APPROVED: f"{simulation.status.canary.revision}/1"}  # type: ignore[union-attr] # a canary waits
    simulation.run(at_share(10))
    simulation.run(reason("AwaitingApproval"))
    return simulation


def paused_before_the_first_step() -> Simulation:
    simulation = first_version()
    simulation.apply("2.0.0", paused=True)
    simulation.run(reason("Paused"))
    return simulation


def paused_at_ten_percent() -> Simulation:
    simulation = first_version()
    simulation.apply("2.0.0")
    simulation.run(at_share(10))
    simulation.apply("2.0.0", paused=True)
    simulation.run(reason("Paused"))
    return simulation


STAGES = [
    stable,
    awaiting_the_first_approval,
    awaiting_the_second_approval,
    paused_before_the_first_step,
    paused_at_ten_percent,
]
at_every_stage = pytest.mark.parametrize("reach", STAGES, ids=lambda reach: reach.__name__)


def change_traffic(simulation: Simulation, **traffic: Any) -> None:
    """Apply the release as it is, with other settings of its traffic."""
    spec = simulation.server.objects[names.KIND, "iris", "iris"]["spec"]
    simulation.apply(spec["model"]["version"], **{**spec, "traffic": {"host": "iris.example.com", **traffic}})


def ingress(simulation: Simulation, name: str = "iris") -> Any:
    return simulation.server.objects["Ingress", "iris", name]


def service(simulation: Simulation, name: str = "iris-stable") -> Any:
    return simulation.server.objects["Service", "iris", name]


@at_every_stage
def test_a_deleted_primary_ingress_is_rebuilt_at_the_same_weight(reach: Callable[[], Simulation]) -> None:
    simulation = reach()
    weight, weights = simulation.weight, [*simulation.server.weights]
    del simulation.server.objects["Ingress", "iris", "iris"]
    simulation.run_for(3)
    assert ingress(simulation)["spec"]["rules"][0]["host"] == "iris.example.com"
    simulation.run_for(20)
    assert (simulation.weight, simulation.server.weights) == (weight, weights)


@at_every_stage
def test_another_host_is_applied_in_the_next_reconcile(reach: Callable[[], Simulation]) -> None:
    simulation = reach()
    change_traffic(simulation, host="new.example.com")
    simulation.run_for(3)
    for (kind, _, _), item in simulation.server.objects.items():
        if kind == "Ingress":
            assert item["spec"]["rules"][0]["host"] == "new.example.com"


@at_every_stage
@pytest.mark.parametrize(
    "change",
    [
        {"selector": {"added": "by-hand"}},
        {"ports": [{"name": "http", "port": 81, "targetPort": "http", "protocol": "TCP"}]},
        {"ports": [{"name": "http", "port": 80, "targetPort": 9999, "protocol": "TCP"}]},
        {"publishNotReadyAddresses": True},
        {"type": "ExternalName", "externalName": "elsewhere.example.com"},
    ],
    ids=str,
)
def test_a_service_that_was_made_to_lead_elsewhere_is_mended(
    reach: Callable[[], Simulation], change: dict[str, Any]
) -> None:
    simulation = reach()
    before = dict(service(simulation)["spec"])
    service(simulation)["spec"].update(change | {"selector": {**before["selector"], **change.get("selector", {})}})
    simulation.run_for(5)
    assert service(simulation)["spec"] | {"type": "ClusterIP"} == before | {"type": "ClusterIP"}
    assert ("ServiceRepaired", "the stable Service was changed by somebody else; applied again") in (
        simulation.server.events
    )


def test_the_canary_service_is_mended_too() -> None:
    simulation = paused_at_ten_percent()
    before = dict(service(simulation, "iris-canary")["spec"]["selector"])
    service(simulation, "iris-canary")["spec"]["selector"]["added"] = "by-hand"
    simulation.run_for(5)
    assert service(simulation, "iris-canary")["spec"]["selector"] == before


@at_every_stage
def test_annotations_and_labels_that_others_add_stay_and_are_no_drift(reach: Callable[[], Simulation]) -> None:
    simulation = reach()
    simulation.run_for(5)
    added = [
        item["metadata"]
        for (kind, _, _), item in simulation.server.objects.items()
        if kind in ("Ingress", "Service", "Deployment", "ConfigMap")
    ]
    for metadata in added:
        metadata.setdefault("annotations", {})["example.com/note"] = "theirs"
        metadata["labels"]["example.com/team"] = "theirs"
    writes: list[str] = []
    simulation.server.before_write = lambda _number, what: writes.append(what)
    simulation.run_for(20)
    assert [what for what in writes if names.KIND not in what] == []
    for metadata in added:
        assert metadata["annotations"]["example.com/note"] == metadata["labels"]["example.com/team"] == "theirs"


def test_an_annotation_that_leads_requests_past_the_weight_is_removed() -> None:
    simulation = paused_at_ten_percent()
    ingress(simulation, "iris-canary")["metadata"]["annotations"][CANARY_BY_HEADER] = "x-any"
    simulation.run_for(3)
    assert CANARY_BY_HEADER not in ingress(simulation, "iris-canary")["metadata"]["annotations"]
    assert simulation.weight > 0


@at_every_stage
def test_what_is_taken_out_of_the_release_is_gone_from_the_ingress(reach: Callable[[], Simulation]) -> None:
    simulation = reach()
    options = {"tlsSecretName": "iris-tls", "annotations": {"example.com/ours": "1", "example.com/more": "2"}}
    change_traffic(simulation, ingress=options)
    simulation.run_for(3)
    ingress(simulation)["metadata"]["annotations"]["example.com/theirs"] = "3"
    assert ingress(simulation)["spec"]["tls"]
    change_traffic(simulation, ingress={"annotations": {"example.com/more": "2"}})
    simulation.run_for(3)
    assert "tls" not in ingress(simulation)["spec"]
    assert ingress(simulation)["metadata"]["annotations"] == {"example.com/more": "2", "example.com/theirs": "3"}
    change_traffic(simulation)
    simulation.run_for(3)
    assert ingress(simulation)["metadata"]["annotations"] == {"example.com/theirs": "3"}
