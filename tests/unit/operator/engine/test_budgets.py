"""Which pods a drain may evict during a release."""

from __future__ import annotations

from typing import Any

from support.operator.api_server import Image
from support.operator.simulation import Simulation, at_weight, phase, serving

ALL_BUT_ONE = {"maxUnavailable": 1}


def deployed(**images: Image) -> Simulation:
    simulation = Simulation(**images)
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.step()
    return simulation


def test_stable_may_lose_one_pod_at_a_time() -> None:
    assert deployed().budgets() == {"1.0.0": ALL_BUT_ONE}


def test_a_canary_without_traffic_has_no_budget() -> None:
    simulation = deployed(v2_0_0=Image(ready_after=1000))
    simulation.apply("2.0.0")
    simulation.run_for(30)
    assert simulation.budgets() == {"1.0.0": ALL_BUT_ONE}


def test_the_canarys_budget_covers_the_pods_that_its_share_needs_and_no_more() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    seen: list[Any] = []
    for weight in (10, 50, 100):
        simulation.run(at_weight(weight))
        seen.append((simulation.budgets()["2.0.0"], simulation.replicas("2.0.0")))
    assert seen == [({"minAvailable": 1}, 2), ({"minAvailable": 2}, 4), ({"minAvailable": 4}, 4)]


def test_after_a_promotion_only_the_new_version_has_a_budget() -> None:
    simulation = deployed()
    simulation.apply("2.0.0")
    simulation.run(serving("2.0.0"))
    simulation.step()
    assert simulation.budgets() == {"2.0.0": ALL_BUT_ONE}


def test_a_rolled_back_version_has_no_budget() -> None:
    simulation = deployed(v3_0_0=Image(error_share=0.5))
    simulation.apply("3.0.0")
    simulation.run(phase("RolledBack"))
    assert simulation.budgets() == {"1.0.0": ALL_BUT_ONE}


def test_a_budget_edited_by_hand_is_repaired() -> None:
    simulation = deployed()
    for (kind, _, _), item in simulation.server.objects.items():
        if kind == "PodDisruptionBudget":
            item["spec"]["maxUnavailable"] = 4
    simulation.run_for(1)
    assert simulation.budgets() == {"1.0.0": ALL_BUT_ONE}
