"""The annotation `hold`: all traffic on stable in the pass that sees it, at every stage, until it is gone."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from iris_operator.api.status import ReleaseStatus, Stage
from support.operator.api_server import Image
from support.operator.simulation import Simulation, at_weight, phase, serving

STEPS = {"steps": [{"weight": 10}, {"weight": 50}, {"weight": 100}], "interval": "5s"}
SHADOW = {"steps": [{"shadow": 20, "minDuration": "1h"}, {"weight": 50}], "interval": "5s"}


def released(rollout: Mapping[str, object], **images: Image) -> Simulation:
    simulation = Simulation(**images)
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0", rollout=rollout)
    return simulation


def events(simulation: Simulation, reason: str) -> list[str]:
    return [message for each, message in simulation.server.events if each == reason]


def promoting_before_the_switch(status: ReleaseStatus) -> bool:
    return status.rollout.stage is Stage.PROMOTING


@pytest.mark.parametrize("weight", [10, 50, 100])
def test_a_hold_at_any_weight_goes_to_weight_0_at_once_and_the_release_begins_again_when_it_is_gone(
    weight: int,
) -> None:
    simulation = released(STEPS)
    simulation.run(at_weight(weight))
    simulation.annotate("hold", "database migration", manager="alice")
    simulation.step()
    assert simulation.weight == 0
    simulation.run_for(200)
    status = simulation.status
    assert (status.phase, status.rollout.reason, simulation.weight) == ("Paused", "Held", 0)
    assert simulation.version_behind_stable_service() == "1.0.0"
    (message,) = events(simulation, "Held")
    assert "database migration; held by alice" in message
    simulation.annotate("hold", None)
    simulation.run(serving("2.0.0"))
    before = simulation.server.shares.index(0)
    assert simulation.server.shares[before:] == [0, 10, 50, 100, 0]
    assert len(events(simulation, "HoldEnded")) == 1


def test_a_weight_that_is_set_by_hand_while_held_is_set_to_0_again() -> None:
    simulation = released(STEPS)
    simulation.run(at_weight(10))
    simulation.annotate("hold", "true")
    simulation.run_for(10)
    ingress = simulation.server.objects["Ingress", "iris", "iris-canary"]
    ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"] = "90"
    simulation.step()
    assert simulation.weight == 0


def test_a_hold_in_promotion_before_the_switch_goes_back_to_stable() -> None:
    simulation = released(STEPS)
    simulation.run(promoting_before_the_switch)
    assert simulation.version_behind_stable_service() == "1.0.0"
    simulation.annotate("hold", "true")
    simulation.step()
    assert simulation.weight == 0
    simulation.run_for(60)
    assert (simulation.version_behind_stable_service(), simulation.status.rollout.reason) == ("1.0.0", "Held")
    simulation.annotate("hold", None)
    simulation.run(serving("2.0.0"))


def test_a_hold_in_promotion_after_the_switch_stays_on_the_promoted_version() -> None:
    simulation = released(STEPS)
    simulation.run(promoting_before_the_switch)
    while simulation.version_behind_stable_service() == "1.0.0":
        simulation.step()
    simulation.annotate("hold", "true")
    simulation.step()
    assert simulation.weight == 0
    simulation.run_for(60)
    assert simulation.version_behind_stable_service() == "2.0.0"
    assert (simulation.status.phase, simulation.status.rollout.reason) == ("Paused", "Held")
    simulation.annotate("hold", None)
    simulation.run(serving("2.0.0"), seconds=10)


def test_a_hold_ends_mirroring() -> None:
    simulation = released(SHADOW)
    simulation.run(lambda status: status.rollout.step_started_at is not None)
    assert simulation.shadow_target() == ("2.0.0", 0.2)
    simulation.annotate("hold", "true")
    simulation.step()
    assert simulation.shadow_target()[1] == 0
    simulation.run_for(30)
    assert (simulation.weight, simulation.shadow_target()[1]) == (0, 0)


def test_no_release_starts_while_held() -> None:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.annotate("hold", "true")
    simulation.apply("2.0.0", rollout=STEPS)
    simulation.run_for(60)
    status = simulation.status
    assert (status.phase, status.canary, status.rollout.reason) == ("Paused", None, "Held")
    simulation.annotate("hold", None)
    simulation.run(serving("2.0.0"))


def test_a_canary_keeps_its_traffic_while_no_pod_of_stable_is_ready() -> None:
    simulation = released(STEPS)
    simulation.run(at_weight(50))
    simulation.server.images = {"registry.example.com/iris:1.0.0": Image(ready_after=10_000)}
    simulation.server.advance(0)
    simulation.annotate("hold", "true")
    simulation.run_for(10)
    assert simulation.weight > 0
    simulation.server.images = {}
    simulation.server.advance(0)
    simulation.step()
    assert simulation.weight == 0


def test_a_rollback_that_is_held_ends() -> None:
    simulation = released(STEPS, v2_0_0=Image(error_share=0.5))
    simulation.run(phase("RollingBack"))
    simulation.annotate("hold", "true")
    status = simulation.run(lambda status: status.rollout.stage is Stage.IDLE)
    assert status.rejected is not None
    simulation.annotate("hold", None)
    simulation.run(phase("RolledBack"))


@pytest.mark.parametrize("value", ["false", ""])
def test_a_hold_that_is_false_is_none(value: str) -> None:
    simulation = released(STEPS)
    simulation.annotate("hold", value)
    simulation.run(serving("2.0.0"))


def test_a_release_that_is_held_is_still_deleted_in_order() -> None:
    simulation = released(STEPS)
    simulation.run(at_weight(50))
    simulation.annotate("hold", "true")
    simulation.step()
    release = simulation.server.objects["IrisModelRelease", "iris", "iris"]
    release["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    while not simulation.step().finished:
        pass
    assert list(simulation.end_state()["deployments"]) == ["1.0.0"]
