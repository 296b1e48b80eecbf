"""A status that cannot be read is never written over: a rejected version stays rejected, and nothing moves up."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from iris_operator.api import names
from support.operator.api_server import Image
from support.operator.simulation import Simulation, at_share, phase, serving

RELEASE = (names.KIND, "iris", "iris")
BAD = Image(error_share=1.0)


def stored(simulation: Simulation) -> dict[str, Any]:
    found: dict[str, Any] = simulation.server.objects[RELEASE]["status"]
    return found


def degraded(simulation: Simulation) -> tuple[str, str, str]:
    found = next(each for each in stored(simulation)["conditions"] if each["type"] == "Degraded")
    return found["status"], found["reason"], found["message"]


def rejected() -> Simulation:
    simulation = Simulation(v3_0_0=BAD)
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("3.0.0")
    simulation.run(phase("RolledBack"))
    simulation.server.shares.clear()
    return simulation


def rollout(share: int, **images: Image) -> Simulation:
    simulation = Simulation(**images)
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0")
    simulation.run(at_share(share))
    return simulation


def step(simulation: Simulation, times: int) -> None:
    """Some reconciles; unlike `run_for` they do not read the status themselves."""
    for _ in range(times):
        simulation.step()


def test_a_rejected_version_stays_rejected_without_the_end_of_an_entry_of_the_history() -> None:
    simulation = rejected()
    del stored(simulation)["history"][0]["finishedAt"]
    kept = copy.deepcopy(stored(simulation)["history"])
    step(simulation, 60)
    assert simulation.server.shares == []
    assert stored(simulation)["history"] == kept
    assert stored(simulation)["rejected"]["version"] == "3.0.0"
    status, reason, message = degraded(simulation)
    assert (status, reason) == ("True", "StatusUnreadable")
    assert "status.history[0].finishedAt" in message
    stored(simulation)["history"][0]["finishedAt"] = "2026-01-01T00:00:00Z"
    step(simulation, 3)
    assert degraded(simulation)[0] == "False"


@pytest.mark.parametrize("share", [10, 50])
def test_an_unknown_phase_changes_nothing(share: int) -> None:
    simulation = rollout(share)
    stored(simulation)["phase"] = "SomethingNewer"
    stored(simulation)["conditions"].append({"type": "Shiny", "status": "True"})
    simulation.step()
    assert (simulation.share, degraded(simulation)[0]) == (share, "False")
    simulation.run(serving("2.0.0"))


def test_an_unknown_phase_of_a_rejected_version_changes_nothing() -> None:
    simulation = rejected()
    stored(simulation)["phase"] = "SomethingNewer"
    step(simulation, 60)
    assert (simulation.status.phase, simulation.server.shares) == ("RolledBack", [])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rollout", "stage"), "SomethingNewer"),
        (("rollout", "stepStartedAt"), "yesterday"),
        (("stable",), {"revision": "x"}),
        (("canary",), 7),
        (("step",), "2/3"),
        (("rejected",), {"revision": "y"}),
    ],
)
def test_a_rollout_waits_until_it_can_be_read_and_then_goes_on(path: tuple[str, ...], value: Any) -> None:
    simulation = rollout(10)
    before = copy.deepcopy(stored(simulation))
    container = stored(simulation)
    for each in path[:-1]:
        container = container[each]
    container[path[-1]] = value
    step(simulation, 100)
    assert (simulation.share, simulation.server.shares) == (10, [10])
    assert (simulation.replicas("1.0.0"), simulation.availability.lost) == (4, 0)
    status, reason, message = degraded(simulation)
    assert (status, reason) == ("True", "StatusUnreadable")
    assert ".".join(("status", *path)) in message
    found: Any = stored(simulation)
    for each in path:
        found = found[each]
    assert found == value
    events = [reason for reason, _ in simulation.server.events]
    assert events.count("StatusUnreadable") == 1
    stored(simulation)[path[0]] = before.get(path[0])
    simulation.run(serving("2.0.0"))
    assert simulation.server.shares == [10, 50, 100, 0]


def test_a_canary_whose_pods_fail_loses_its_share_while_the_status_cannot_be_read() -> None:
    simulation = rollout(10)
    stored(simulation)["rollout"]["stage"] = "SomethingNewer"
    simulation.step()
    simulation.server.images = {"registry.example.com/iris:2.0.0": Image(crash="out of memory")}
    step(simulation, 10)
    assert (simulation.weight, simulation.version_behind_stable_service()) == (0, "1.0.0")
    assert stored(simulation)["rollout"]["stage"] == "SomethingNewer"


def test_a_release_whose_status_cannot_be_read_can_be_deleted() -> None:
    simulation = rollout(50)
    stored(simulation)["rollout"]["stage"] = "SomethingNewer"
    simulation.server.objects[RELEASE]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    for _ in range(60):
        if simulation.step().finished:
            break
    else:
        raise AssertionError("not finished")
    assert (simulation.weight, simulation.availability.lost) == (0, 0)


def test_fields_of_a_newer_operator_stay() -> None:
    simulation = rejected()
    stored(simulation)["nodeBudget"] = {"used": 1}
    stored(simulation)["rejected"]["digest"] = "sha256:0"
    simulation.apply("3.0.0", paused=True)
    step(simulation, 5)
    assert stored(simulation)["nodeBudget"] == {"used": 1}
    assert stored(simulation)["rejected"]["digest"] == "sha256:0"
