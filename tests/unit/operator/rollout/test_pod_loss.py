"""Pods that are lost while the canary has traffic: protected at once, and judged by whose fault it is."""

from __future__ import annotations

from collections.abc import Mapping

from iris_operator.api import names
from iris_operator.rollout.pod_loss import MAX_POD_LOSSES
from support.operator.api_server import Image
from support.operator.simulation import Simulation, at_weight, phase, serving

CANARY = "registry.example.com/iris:2.0.0"
STEPS = {"steps": [{"weight": 50, "minDuration": "20s"}, {"weight": 100}], "interval": "5s", "readyTimeout": "5m"}


def released(rollout: Mapping[str, object] = STEPS) -> Simulation:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0", rollout=rollout)
    simulation.run(at_weight(50))
    return simulation


def lose_nodes(simulation: Simulation, *, lost: bool) -> None:
    simulation.server.lost_images = frozenset({CANARY}) if lost else frozenset()
    simulation.server.advance(0)


def delete_pods(simulation: Simulation) -> None:
    """They start again."""
    canary = simulation.status.canary
    assert canary is not None
    prefix = names.workload_name("iris", canary.revision)
    for name in simulation.server._started_at:
        if name.startswith(prefix):
            simulation.server._started_at[name] = simulation.server.now
    simulation.server.advance(0)


def test_a_canary_whose_nodes_are_lost_gets_no_traffic_and_begins_again_when_its_pods_are_back() -> None:
    simulation = released()
    lose_nodes(simulation, lost=True)
    simulation.step()
    assert simulation.weight == 0
    simulation.run_for(30)
    assert (simulation.status.phase, simulation.status.rejected, simulation.weight) == ("Progressing", None, 0)
    lose_nodes(simulation, lost=False)
    status = simulation.run(serving("2.0.0"))
    assert status.rejected is None
    assert simulation.server.shares == [50, 0, 50, 100, 0]


def test_pods_that_were_deleted_are_waited_for() -> None:
    simulation = released()
    delete_pods(simulation)
    simulation.step()
    assert simulation.weight == 0
    simulation.run(serving("2.0.0"))


def test_pods_that_are_lost_again_and_again_end_the_release() -> None:
    simulation = released({**STEPS, "steps": [{"weight": 50, "minDuration": "10m"}]})
    for _ in range(MAX_POD_LOSSES):
        delete_pods(simulation)
        simulation.run(lambda status: status.step.index == 0)
        simulation.run(at_weight(50))
    delete_pods(simulation)
    status = simulation.run(phase("RolledBack"), seconds=30)
    assert status.rejected is not None
    assert status.rejected.reason == "NotReady"
    assert "3 times before" in status.rejected.message


def test_pods_that_do_not_come_back_end_the_release_after_the_ready_timeout() -> None:
    simulation = released()
    lose_nodes(simulation, lost=True)
    status = simulation.run(phase("RolledBack"), seconds=330)
    assert status.rejected is not None
    assert status.rejected.reason == "ReadyTimeout"


def test_a_probe_that_fails_for_a_moment_costs_the_traffic_but_not_the_release() -> None:
    simulation = released()
    simulation.server.images = {CANARY: Image(probe_fails=True)}
    simulation.server.advance(0)
    simulation.step()
    assert simulation.weight == 0
    simulation.run_for(5)
    simulation.server.images = {}
    simulation.server.advance(0)
    assert simulation.run(serving("2.0.0")).rejected is None


def test_a_running_container_that_goes_on_failing_its_probe_is_the_versions_fault() -> None:
    simulation = released()
    simulation.server.images = {CANARY: Image(probe_fails=True)}
    simulation.server.advance(0)
    simulation.step()
    assert simulation.weight == 0
    status = simulation.run(phase("RolledBack"), seconds=30)
    assert status.rejected is not None
    assert status.rejected.reason == "NotReady"
    assert "fails its readiness probe" in status.rejected.message


def test_a_crash_is_the_versions_fault() -> None:
    simulation = released()
    simulation.server.images = {CANARY: Image(crash="out of memory")}
    simulation.server.advance(0)
    simulation.step()
    assert simulation.weight == 0
    status = simulation.run(phase("RolledBack"), seconds=30)
    assert status.rejected is not None
    assert status.rejected.reason == "Crash"


def test_nodes_that_are_lost_during_promotion_do_not_reject_the_version() -> None:
    simulation = released({"steps": [{"weight": 50}, {"weight": 100}], "interval": "5s"})
    simulation.run(phase("Promoting"))
    lose_nodes(simulation, lost=True)
    simulation.step()
    assert (simulation.weight, simulation.version_behind_stable_service()) == (0, "1.0.0")
    simulation.run_for(20)
    lose_nodes(simulation, lost=False)
    assert simulation.run(serving("2.0.0")).rejected is None


def test_nodes_that_are_lost_after_a_promotion_do_not_reject_the_version() -> None:
    simulation = released({"steps": [{"weight": 50}, {"weight": 100}], "interval": "5s"})
    simulation.run(serving("2.0.0"))
    simulation.run_for(20)
    lose_nodes(simulation, lost=True)
    simulation.step()
    assert (simulation.weight, simulation.version_behind_stable_service()) == (0, "1.0.0")
    simulation.run_for(20)
    assert simulation.status.rejected is None
    lose_nodes(simulation, lost=False)
    simulation.run(serving("2.0.0"))
    assert "WentBack" in [reason for reason, _ in simulation.server.events]
