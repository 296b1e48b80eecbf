"""Memory that is missing: what serves is adopted, nothing that serves is scaled down, and no request is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from iris_operator.api import names
from support.operator.api_server import Image, Object
from support.operator.simulation import Simulation, at_weight, phase, serving

RELEASE = (names.KIND, "iris", "iris")
CRASHES = Image(crash="model.onnx: digest differs")
FAILS = Image(error_share=1.0)
ROLLOUT = {
    "steps": [{"weight": 10, "minDuration": "10s"}, {"weight": 50}, {"weight": 100}],
    "interval": "5s",
    "scaleDownDelay": "15s",
    "watch": "20s",
}
ANOTHER_UID = "uid-of-a-release-that-is-gone"


class Quick(Simulation):
    """Replaced versions are scaled down soon."""

    def apply(self, version: str, **changes: Any) -> None:
        super().apply(version, **{"rollout": ROLLOUT, **changes})


def deployed(**images: Image) -> Simulation:
    simulation = Quick(**images)
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    return simulation


def orphan(simulation: Simulation) -> None:
    """`kubectl delete --cascade=orphan`: the garbage collector takes the owner references off."""
    del simulation.server.objects[RELEASE]
    for item in simulation.server.objects.values():
        item["metadata"].pop("ownerReferences", None)


def restore(simulation: Simulation) -> None:
    """A backup without its status: owner references name the release as it was."""
    del simulation.server.objects[RELEASE]
    for item in simulation.server.objects.values():
        for reference in item["metadata"].get("ownerReferences", []):
            reference["uid"] = ANOTHER_UID


def lose_status(simulation: Simulation) -> None:
    simulation.server.objects[RELEASE].pop("status")


losses = pytest.mark.parametrize("lose", [orphan, restore, lose_status])


def deployment_of(simulation: Simulation, version: str) -> Object:
    return next(
        item
        for (kind, _, _), item in simulation.server.objects.items()
        if kind == "Deployment" and item["metadata"]["labels"][names.LABEL_VERSION] == version
        if item["metadata"]["labels"][names.LABEL_ROLE] != "control"
    )


def births(simulation: Simulation) -> dict[str, Any]:
    return dict(simulation.server._started_at)


def condition(simulation: Simulation, kind: str) -> tuple[str, str, str]:
    found = next(c for c in simulation.status.conditions if c.type == kind)
    return found.status, found.reason, found.message


def reasons(simulation: Simulation) -> list[str]:
    return [reason for reason, _ in simulation.server.events]


@losses
def test_a_crashing_version_after_the_status_was_lost_is_rolled_back_and_no_request_is_lost(
    lose: Callable[[Simulation], None],
) -> None:
    simulation = deployed(v2_0_0=CRASHES)
    born = births(simulation)
    lose(simulation)
    simulation.apply("2.0.0")
    status = simulation.run(phase("RolledBack"))
    simulation.run_for(40)
    assert (simulation.availability.lost, simulation.replicas("1.0.0")) == (0, 4)
    assert status.rejected is not None
    assert status.rejected.reason == "Crash"
    assert simulation.version_behind_stable_service() == "1.0.0"
    assert {name: when for name, when in births(simulation).items() if name in born} == born
    assert "Adopted" in reasons(simulation)
    assert "WorkloadRepaired" not in reasons(simulation)


@losses
def test_a_good_version_after_the_status_was_lost_takes_every_step(lose: Callable[[Simulation], None]) -> None:
    simulation = deployed()
    lose(simulation)
    simulation.apply("2.0.0")
    simulation.run(serving("2.0.0"))
    assert simulation.server.shares == [10, 50, 100, 0]
    assert simulation.availability.lost == 0


@losses
def test_the_same_version_is_stable_at_once_and_no_pod_restarts(lose: Callable[[Simulation], None]) -> None:
    simulation = deployed()
    born = births(simulation)
    lose(simulation)
    simulation.apply("1.0.0")
    simulation.step()
    assert simulation.status.phase == "Stable"
    simulation.run_for(60)
    assert births(simulation) == born
    assert (simulation.availability.lost, simulation.server.shares) == (0, [])
    assert condition(simulation, "Promoted")[0] == "True"


@pytest.mark.parametrize("lose", [orphan, restore])
def test_adopted_objects_get_an_owner_again(lose: Callable[[Simulation], None]) -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(serving("2.0.0"))
    simulation.run_for(40)  # 1.0.0 is retired, without pods
    lose(simulation)
    simulation.apply("2.0.0")
    simulation.run_for(60)
    kept = [item for (kind, _, _), item in simulation.server.objects.items() if kind in ("Deployment", "Service")]
    assert len(kept) == 4
    for item in kept:
        controllers = [ref for ref in item["metadata"]["ownerReferences"] if ref["controller"]]
        assert [ref["uid"] for ref in controllers] == ["uid-1"]
    assert simulation.replicas("1.0.0") == 0


@losses
@pytest.mark.parametrize("share", [10, 50, 100])
@pytest.mark.parametrize("image", [Image(), FAILS])
def test_in_the_middle_of_a_rollout_the_weight_goes_to_0_first_and_the_rollout_starts_over(
    lose: Callable[[Simulation], None], share: int, image: Image
) -> None:
    images = {"registry.example.com/iris:2.0.0": Image()}
    simulation = deployed()
    simulation.server.images = images
    simulation.apply("2.0.0")
    simulation.run(at_weight(share))
    images["registry.example.com/iris:2.0.0"] = image
    before = list(simulation.server.shares)
    lose(simulation)
    simulation.apply("2.0.0")
    simulation.run(lambda _: simulation.weight == 0, seconds=5)
    end = serving("2.0.0") if image.error_share == 0 else phase("RolledBack")
    simulation.run(end)
    after = simulation.server.shares[len(before) :]
    assert after == ([0, 10, 50, 100, 0] if image.error_share == 0 else [0, 10, 0])
    assert simulation.availability.lost == 0


@losses
def test_in_the_middle_of_a_promotion_no_request_is_lost(lose: Callable[[Simulation], None]) -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(lambda _: simulation.version_behind_stable_service() == "2.0.0")
    lose(simulation)
    simulation.apply("2.0.0")
    simulation.run(serving("2.0.0"), seconds=60)
    simulation.run_for(40)
    assert (simulation.weight, simulation.replicas("1.0.0"), simulation.availability.lost) == (0, 0, 0)


@losses
def test_the_canary_of_another_version_is_removed_and_the_new_one_starts(lose: Callable[[Simulation], None]) -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(at_weight(50))
    lose(simulation)
    simulation.apply("3.0.0")
    simulation.run(serving("3.0.0"))
    simulation.run_for(40)
    assert simulation.availability.lost == 0
    assert (simulation.replicas("1.0.0"), simulation.replicas("2.0.0")) == (0, 0)


def test_the_adopted_version_is_not_scaled_or_changed_without_its_inputs_and_that_is_said() -> None:
    simulation = deployed(v3_0_0=FAILS)
    found = deployment_of(simulation, "1.0.0")
    found["metadata"]["annotations"][names.ANNOTATION_INPUTS] = "{"
    before = {**found["metadata"]["labels"]}, found["spec"]
    lose_status(simulation)
    simulation.apply("3.0.0", serving={"replicas": 2})
    simulation.run(phase("RolledBack"))
    simulation.run_for(60)
    left = deployment_of(simulation, "1.0.0")
    assert ({**left["metadata"]["labels"]}, left["spec"]) == before
    status, reason, message = condition(simulation, "Degraded")
    assert (status, reason) == ("True", "UnknownRevision")
    assert names.ANNOTATION_INPUTS in message
    assert simulation.status.stable is not None
    assert simulation.status.stable.image == "registry.example.com/iris:1.0.0"
    assert simulation.availability.lost == 0


def test_a_release_beside_a_stable_version_without_inputs_can_be_promoted() -> None:
    simulation = deployed()
    deployment_of(simulation, "1.0.0")["metadata"]["annotations"].pop(names.ANNOTATION_INPUTS)
    lose_status(simulation)
    simulation.apply("2.0.0")
    simulation.run(serving("2.0.0"))
    simulation.run_for(40)
    assert (simulation.replicas("1.0.0"), simulation.availability.lost) == (4, 0)
    assert condition(simulation, "Degraded")[1] == "UnknownRevision"


def test_traffic_goes_to_the_revision_with_ready_pods_when_the_selected_one_has_none() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(serving("2.0.0"))
    simulation.server.images = {"registry.example.com/iris:2.0.0": CRASHES}
    simulation.server.advance(1)
    lose_status(simulation)
    simulation.apply("2.0.0")
    status = simulation.run(phase("RolledBack"), seconds=60)
    assert status.stable is not None
    assert (status.stable.version, simulation.version_behind_stable_service()) == ("1.0.0", "1.0.0")
    assert any("has no ready pod" in message for _, message in simulation.server.events)
    lost = simulation.availability.lost
    simulation.run_for(40)
    assert (simulation.replicas("1.0.0"), simulation.availability.lost) == (4, lost)


def test_a_deployment_of_somebody_else_with_the_release_label_is_left_alone() -> None:
    simulation = deployed()
    foreign = {
        **deployment_of(simulation, "1.0.0"),
        "metadata": {
            "name": "iris-ffffffffff",
            "namespace": "iris",
            "labels": {names.LABEL_RELEASE: "iris", names.LABEL_REVISION: "ffffffffff", names.LABEL_VERSION: "9.9.9",
                       names.LABEL_ROLE: "stable"},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "Other", "name": "iris", "uid": "u", "controller": True}
            ],
        },
    }  # fmt: skip
    simulation.server.objects["Deployment", "iris", "iris-ffffffffff"] = foreign
    simulation.server.advance(5)
    lose_status(simulation)
    simulation.apply("2.0.0")
    simulation.run(serving("2.0.0"))
    simulation.run_for(40)
    assert simulation.server.objects["Deployment", "iris", "iris-ffffffffff"] == foreign


def test_an_older_status_does_not_lead_the_traffic_to_a_version_without_pods() -> None:
    simulation = deployed()
    older = simulation.server.objects[RELEASE]["status"]
    simulation.apply("2.0.0")
    simulation.run(serving("2.0.0"))
    simulation.run_for(40)
    simulation.server.objects[RELEASE]["status"] = older
    simulation.run_for(60)
    assert simulation.status.stable is not None
    assert (simulation.status.stable.version, simulation.status.phase) == ("2.0.0", "Stable")
    assert (simulation.replicas("2.0.0"), simulation.availability.lost) == (4, 0)


def test_a_restored_version_whose_pods_still_start_is_not_scaled_down_for_one_that_crashes() -> None:
    simulation = deployed(v1_0_0=Image(ready_after=30), v2_0_0=CRASHES)
    lose_status(simulation)
    simulation.server._started_at.clear()
    simulation.server.advance(0)
    simulation.apply("2.0.0")
    simulation.run(phase("RolledBack"))
    assert (simulation.replicas("1.0.0"), simulation.version_behind_stable_service()) == (4, "1.0.0")


@pytest.mark.parametrize("share", [10, 50, 100])
@pytest.mark.parametrize("part", ["stable", "canary", "control", "rollout", "step", "analysis", "history"])
def test_a_part_of_the_status_that_was_removed_costs_no_request(part: str, share: int) -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(at_weight(share))
    simulation.server.objects[RELEASE]["status"].pop(part, None)
    simulation.run(serving("2.0.0"))
    simulation.run_for(40)
    assert simulation.availability.lost == 0


@pytest.mark.parametrize("part", ["stable", "canary", "control", "step", "analysis", "history"])
def test_a_version_that_is_being_rolled_back_is_rejected_also_when_a_part_of_the_status_was_removed(part: str) -> None:
    simulation = deployed(v3_0_0=FAILS)
    simulation.apply("3.0.0")
    simulation.run(phase("RollingBack"))
    simulation.server.objects[RELEASE]["status"].pop(part, None)
    status = simulation.run(phase("RolledBack"))
    assert status.rejected is not None
    assert status.rejected.version == "3.0.0"
    simulation.run_for(60)
    assert (simulation.server.shares, simulation.availability.lost) == ([10, 0], 0)
