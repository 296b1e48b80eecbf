"""The autoscaler scales stable while the operator shifts traffic: neither undoes the other's work."""

from __future__ import annotations

import math
from typing import Any

import pytest

from iris_operator.api import names
from iris_operator.api.spec import Serving
from support.operator.api_server import Image
from support.operator.simulation import AUTOSCALED, Simulation, at_weight, phase, serving


def autoscaled(**images: Image) -> Simulation:
    simulation = Simulation(**images)
    simulation.apply("1.0.0", serving=AUTOSCALED)
    simulation.run(serving("1.0.0"))
    simulation.run_for(3)
    return simulation


def owners(simulation: Simulation, version: str) -> set[str]:
    """Field managers that own the number of a version's pods."""
    (fields,) = (
        item["metadata"]["managedFields"]
        for (kind, _, _), item in simulation.server.objects.items()
        if kind == "Deployment" and item["metadata"]["labels"][names.LABEL_VERSION] == version
    )
    return {entry["manager"] for entry in fields if "f:replicas" in entry["fieldsV1"].get("f:spec", {})}


def autoscaler(simulation: Simulation) -> dict[str, Any]:
    spec: dict[str, Any] = simulation.server.objects["HorizontalPodAutoscaler", "iris", "iris"]["spec"]
    return spec


def test_the_first_version_starts_with_replicas_and_is_then_scaled_by_the_autoscaler() -> None:
    simulation = autoscaled()
    assert (simulation.autoscaled_version(), simulation.replicas("1.0.0")) == ("1.0.0", 4)
    assert names.FIELD_MANAGER not in owners(simulation, "1.0.0")


@pytest.mark.parametrize("wanted", [7, 2, 30])
def test_the_number_of_pods_that_the_autoscaler_sets_is_kept(wanted: int) -> None:
    simulation = autoscaled()
    simulation.server.autoscaler_wants = wanted
    simulation.server.advance(0)
    writes = simulation.server.writes
    simulation.run_for(700)
    assert simulation.replicas("1.0.0") == min(wanted, 10)
    assert (simulation.server.writes, simulation.status.phase) == (writes, "Stable")


def test_stable_scaled_up_during_a_shift_keeps_its_pods_and_the_canary_follows() -> None:
    simulation = autoscaled()
    simulation.apply("2.0.0", serving=AUTOSCALED)
    simulation.run(at_weight(10))
    simulation.server.autoscaler_wants = 9
    seen: list[tuple[int, int]] = []

    def watch(_number: int, what: str) -> None:
        if what.startswith("apply Ingress"):
            seen.append((simulation.share, simulation.ready("2.0.0")))

    simulation.server.after_write = watch
    while simulation.status.canary is not None:
        simulation.step()
        assert simulation.replicas("1.0.0") == 9
    assert simulation.server.shares == [10, 50, 100, 0]
    # Capacity precedes the weight: at each new weight there were pods for that share of stable's present number.
    assert [ready >= math.ceil(9 * share / 100) for share, ready in seen] == [True] * len(seen)
    assert max(share for share, _ in seen) > 50


def test_canary_pods_added_because_stable_grew_may_still_be_starting() -> None:
    simulation = autoscaled(v2_0_0=Image(ready_after=20))
    simulation.apply("2.0.0", serving=AUTOSCALED)
    simulation.run(at_weight(50))
    simulation.server.autoscaler_wants = 10
    simulation.run_for(5)
    assert (simulation.replicas("2.0.0"), simulation.ready("2.0.0")) == (10, 2)
    simulation.run(serving("2.0.0"))


def test_canary_pods_added_because_replicas_were_raised_may_still_be_starting() -> None:
    simulation = Simulation(v2_0_0=Image(ready_after=20))
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0")
    simulation.run(at_weight(50))
    simulation.apply("2.0.0", serving={"replicas": 12})
    simulation.run(serving("2.0.0"))
    assert simulation.server.shares == [10, 50, 100, 0]


def test_a_canary_that_loses_pods_which_its_share_needs_is_rolled_back_when_they_keep_failing() -> None:
    simulation = autoscaled()
    simulation.apply("2.0.0", serving=AUTOSCALED)
    simulation.run(at_weight(50))
    simulation.server.images = {"registry.example.com/iris:2.0.0": Image(probe_fails=True)}
    status = simulation.run(phase("RolledBack"), seconds=30)
    assert status.rejected is not None
    assert status.rejected.reason == "NotReady"


def test_stable_is_not_scaled_down_while_it_may_need_to_serve_all_traffic_again() -> None:
    simulation = autoscaled(v3_0_0=Image(error_share=0.5))
    simulation.apply("3.0.0", serving=AUTOSCALED)
    simulation.run(at_weight(10))
    simulation.server.autoscaler_wants = 2
    simulation.run(phase("RolledBack"))
    assert simulation.replicas("1.0.0") == 4
    assert simulation.replicas("3.0.0") == 0
    simulation.run_for(3)
    assert (simulation.autoscaled_version(), simulation.replicas("1.0.0")) == ("1.0.0", 2)


def test_a_promotion_hands_the_autoscaler_over_without_losing_pods() -> None:
    simulation = autoscaled()
    simulation.apply("2.0.0", serving=AUTOSCALED)
    simulation.run(at_weight(100))
    simulation.step()
    assert simulation.autoscaled_version() == "2.0.0"
    while simulation.status.canary is not None:
        simulation.step()
        assert simulation.ready("2.0.0") == 4
    simulation.run_for(3)
    assert names.FIELD_MANAGER not in owners(simulation, "2.0.0")
    assert autoscaler(simulation)["behavior"]["scaleDown"]["selectPolicy"] == "Max"
    simulation.run_for(620)
    assert (simulation.replicas("2.0.0"), simulation.replicas("1.0.0")) == (4, 0)


def test_at_full_traffic_the_autoscaler_scales_the_canary() -> None:
    simulation = autoscaled()
    rollout = {"steps": [{"weight": 50}, {"weight": 100, "minDuration": "60s"}], "interval": "5s"}
    simulation.apply("2.0.0", serving=AUTOSCALED, rollout=rollout)
    simulation.run(at_weight(100))
    simulation.server.autoscaler_wants = 8
    simulation.run_for(30)
    assert (simulation.status.phase, simulation.replicas("2.0.0"), simulation.replicas("1.0.0")) == (
        "Progressing",
        8,
        4,
    )
    simulation.run(serving("2.0.0"))
    assert simulation.replicas("2.0.0") == 8


def test_enabling_autoscaling_keeps_the_pods_and_disabling_it_applies_replicas_again() -> None:
    simulation = Simulation()
    fixed = {key: value for key, value in AUTOSCALED.items() if key != "autoscaling"}
    simulation.apply("1.0.0", serving=fixed)
    simulation.run(serving("1.0.0"))
    simulation.apply("1.0.0", serving=AUTOSCALED)
    simulation.run_for(5)
    assert (simulation.autoscaled_version(), simulation.replicas("1.0.0")) == ("1.0.0", 4)
    assert names.FIELD_MANAGER not in owners(simulation, "1.0.0")
    simulation.server.autoscaler_wants = 9
    simulation.run_for(5)
    simulation.apply("1.0.0", serving=fixed)
    simulation.run_for(5)
    assert (simulation.autoscaled_version(), simulation.replicas("1.0.0")) == ("", 4)
    assert len(simulation.status.history) == 1


def test_an_autoscaler_edited_by_hand_is_repaired() -> None:
    simulation = autoscaled()
    autoscaler(simulation)["maxReplicas"] = 500
    simulation.run_for(1)
    assert autoscaler(simulation)["maxReplicas"] == 10
    assert "AutoscalerRepaired" in [reason for reason, _ in simulation.server.events]


def test_stable_that_was_scaled_to_0_by_hand_is_scaled_up_again() -> None:
    """At 0 an autoscaler is disabled, so only the operator can scale up."""
    simulation = autoscaled()
    for (kind, _, _), item in simulation.server.objects.items():
        if kind == "Deployment":
            item["spec"]["replicas"] = 0
    simulation.run_for(10)
    assert (simulation.replicas("1.0.0"), simulation.status.phase) == (4, "Stable")
    assert names.FIELD_MANAGER not in owners(simulation, "1.0.0")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resources": {}}, "requests.cpu"),
        ({"autoscaling": {"minReplicas": 5, "maxReplicas": 4}}, "minReplicas 5 is above maxReplicas 4"),
    ],
)
def test_an_invalid_autoscaler_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Serving.model_validate({**AUTOSCALED, **changes})
