"""A canary is judged at every weight, while it waits and to the end; edits by hand delay no verdict."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from iris_operator.api import names
from iris_operator.api.status import ReleaseStatus
from support.operator.api_server import Image
from support.operator.simulation import Simulation, at_weight, phase, serving

BAD = {"registry.example.com/iris:2.0.0": Image(error_share=1.0)}
CUSTOM = {"checks": {"custom": [{"name": "refunds", "query": "refunds", "max": 1.0}]}}


def released(rollout: Mapping[str, object], until: int, **changes: object) -> Simulation:
    simulation = Simulation()
    simulation.traffic.custom = 0.0
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0", rollout=rollout, **changes)
    simulation.run(at_weight(until))
    return simulation


def rejected(simulation: Simulation, seconds: float = 60) -> str:
    status = simulation.run(phase("RolledBack"), seconds=seconds)
    assert status.rejected is not None
    assert (simulation.weight, simulation.version_behind_stable_service()) == (0, "1.0.0")
    return status.rejected.reason


@pytest.mark.parametrize("control", ["Pods", "Stable"])
@pytest.mark.parametrize("weight", [10, 50, 100])
def test_errors_at_any_weight_roll_back(weight: int, control: str) -> None:
    steps = [{"weight": each, "minDuration": "10m" if each == weight else "0s"} for each in (10, 50, 100)]
    simulation = released({"steps": steps, "interval": "5s"}, weight, analysis={"control": control})
    simulation.run_for(30)
    simulation.server.images = BAD
    assert rejected(simulation) == "ErrorRate"


def test_errors_at_the_only_step_roll_back() -> None:
    simulation = released({"steps": [{"weight": 100, "minDuration": "10m"}], "interval": "5s"}, 100)
    simulation.server.images = BAD
    assert rejected(simulation) == "ErrorRate"


@pytest.mark.parametrize("weight", [10, 100])
def test_errors_while_paused_roll_back(weight: int) -> None:
    rollout = {"steps": [{"weight": 10}, {"weight": 100}], "interval": "5s"}
    simulation = released(rollout, weight)
    simulation.apply("2.0.0", rollout=rollout, paused=True)
    simulation.run(phase("Paused"))
    simulation.run_for(600)
    simulation.server.images = BAD
    assert rejected(simulation) == "ErrorRate"


def test_errors_while_waiting_for_approval_roll_back() -> None:
    rollout = {"steps": [{"weight": 10}, {"weight": 50, "approval": True}], "interval": "5s"}
    simulation = released(rollout, 10)
    simulation.run(lambda status: status.rollout.reason == "AwaitingApproval")
    simulation.server.images = BAD
    assert rejected(simulation) == "ErrorRate"


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("weight", [10, 100])
def test_custom_checks_are_asked_to_the_end_and_while_paused(weight: int, paused: bool) -> None:
    steps = [{"weight": each, "minDuration": "10m" if each == weight else "0s"} for each in (10, 100)]
    rollout = {"steps": steps, "interval": "5s"}
    simulation = released(rollout, weight, analysis=CUSTOM)
    simulation.apply("2.0.0", rollout=rollout, analysis=CUSTOM, paused=paused)
    simulation.run_for(30)
    simulation.traffic.custom = 2.0
    assert rejected(simulation) == "Custom"


def edit_canary(simulation: Simulation) -> None:
    canary = simulation.status.canary
    if canary:
        key = ("Deployment", "iris", names.workload_name("iris", canary.revision))
        simulation.server.objects[key]["spec"]["template"]["spec"]["containers"][0]["image"] = "somebody/else:1"


def edited_until(simulation: Simulation, name: str, seconds: int) -> ReleaseStatus:
    """Somebody edits the canary's Deployment every eight seconds."""
    for _ in range(0, seconds, 8):
        edit_canary(simulation)
        simulation.run_for(8)
        if simulation.status.phase == name:
            return simulation.status
    raise AssertionError(f"{simulation.status.phase} after {seconds} s of edits: {simulation.status.rollout}")


def test_edits_by_hand_do_not_save_a_version_that_is_worse() -> None:
    simulation = released({"steps": [{"weight": 10, "minDuration": "1h"}], "interval": "5s"}, 10)
    simulation.server.images = {"registry.example.com/iris:2.0.0": Image(error_share=0.05)}
    status = edited_until(simulation, "RolledBack", 600)
    assert status.rejected is not None
    assert status.rejected.reason == "ErrorRate"


def test_edits_by_hand_let_nothing_pass_and_the_hold_still_ends() -> None:
    rollout = {"steps": [{"weight": 10, "minDuration": "30s"}, {"weight": 50}], "interval": "5s", "holdTimeout": "3m"}
    simulation = released(rollout, 10)
    status = edited_until(simulation, "Paused", 240)
    assert (status.rejected.reason if status.rejected else "", max(simulation.server.shares)) == ("HoldTimeout", 10)
