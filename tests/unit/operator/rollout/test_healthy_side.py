"""During a promotion traffic stays where healthy pods are, counted by revision and not by Service."""

from __future__ import annotations

import pytest

from iris_operator.api import names
from support.operator.api_server import Image
from support.operator.simulation import Simulation, at_weight, serving

RELEASE = (names.KIND, "iris", "iris")
OLD, NEW = "registry.example.com/iris:1.0.0", "registry.example.com/iris:2.0.0"


def promoting(*, switched: bool) -> Simulation:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0")
    simulation.run(lambda status: status.rollout.stage == "Promoting")
    if switched:
        simulation.run(lambda _: simulation.version_behind_stable_service() == "2.0.0")
    return simulation


def crash_one_pod_of_the_canary(simulation: Simulation) -> None:
    """One of its pods crashes in every pass from now on; the others are ready."""
    pods = sorted(key for key in simulation.server.objects if key[0] == "Pod" and "-control-" not in key[2])
    name = next(key for key in pods if _version(simulation, key[2]) == "2.0.0")[2]
    run_pods = simulation.server._run_pods

    def with_a_crash(namespace: str, deployment: dict[str, object]) -> None:
        run_pods(namespace, deployment)
        pod = simulation.server.objects.get(("Pod", namespace, name))
        if pod:
            pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
            ended = {"terminated": {"exitCode": 1, "message": "out of memory"}}
            pod["status"]["containerStatuses"] = [{"name": "inference", "state": {}, "lastState": ended}]

    setattr(simulation.server, "_run_pods", with_a_crash)  # noqa: B010 - a method of the double
    simulation.server.advance(0)


def _version(simulation: Simulation, pod: str) -> str:
    labels = simulation.server.objects["Pod", "iris", pod]["metadata"]["labels"]
    return str(labels[names.LABEL_VERSION])


@pytest.mark.parametrize("switched", [False, True])
def test_traffic_stays_on_the_canary_while_the_old_version_is_dead(switched: bool) -> None:
    simulation = promoting(switched=switched)
    simulation.server.images = {OLD: Image(crash="dead")}
    crash_one_pod_of_the_canary(simulation)
    lost = simulation.availability.lost
    simulation.run_for(60)
    assert simulation.availability.lost == lost == 0
    assert simulation.status.rollout.stage == "RollingBack"
    simulation.server.images = {}
    simulation.run(lambda status: status.rejected is not None)
    assert simulation.version_behind_stable_service() == "1.0.0"
    assert simulation.availability.lost == 0


@pytest.mark.parametrize("switched", [False, True])
def test_a_deletion_during_a_promotion_leaves_what_the_stable_service_selects(switched: bool) -> None:
    simulation = promoting(switched=switched)
    simulation.server.objects[RELEASE]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    for _ in range(60):
        if simulation.step().finished:
            break
    assert (simulation.weight, simulation.availability.lost) == (0, 0)
    kept = "2.0.0" if switched else "1.0.0"
    assert simulation.version_behind_stable_service() == kept
    assert simulation.ready(kept) == 4


def test_a_deletion_leads_the_stable_service_to_the_canary_when_the_old_version_is_dead() -> None:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0")
    simulation.run(at_weight(100))
    simulation.server.images = {OLD: Image(crash="dead")}
    simulation.server.objects[RELEASE]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    simulation.server.advance(0)
    for _ in range(60):
        if simulation.step().finished:
            break
    assert (simulation.weight, simulation.version_behind_stable_service()) == (0, "2.0.0")
    assert simulation.ready("2.0.0") == 4
