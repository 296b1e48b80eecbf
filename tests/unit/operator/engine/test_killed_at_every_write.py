"""The operator is killed before and after each of its API writes; it must end as an uninterrupted run does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest

from iris_operator.api.status import ReleaseStatus
from iris_operator.engine.ports import Conflict
from iris_operator.engine.reconcile import ReconcileOutcome
from support.operator.api_server import ApiServer, Image, OperatorKilled
from support.operator.simulation import AUTOSCALED, Simulation, phase, serving

COPIED = {"rollout": {"steps": [{"shadow": 20}, {"weight": 50}], "interval": "5s"}}
BAD = Image(error_share=0.5)


@dataclass(frozen=True)
class Scenario:
    """What a user applies, and the status that it leads to."""

    version: str
    reached: Callable[[ReleaseStatus], bool]
    changes: Mapping[str, Any] = field(default_factory=dict)
    autoscaler_wants: int = 0

    def start(self, simulation: Simulation) -> None:
        simulation.server.autoscaler_wants = self.autoscaler_wants
        simulation.apply(self.version, **self.changes)

    def finish(self, simulation: Simulation) -> None:
        _restarting_when_killed(simulation, lambda: simulation.run(self.reached))
        # Stable's leftovers are removed by the reconcile after the one that ends the rollout.
        _restarting_when_killed(simulation, lambda: simulation.run_for(2))
        simulation.server.advance(0)


def _restarting_when_killed(simulation: Simulation, act: Callable[[], object]) -> None:
    while True:
        try:
            act()
        except OperatorKilled:
            simulation.server.advance(3.0)
            simulation.start_operator()
            continue
        return


@cache
def first_deployment() -> ApiServer:
    simulation = Simulation(v3_0_0=BAD)
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.server.writes = 0
    return simulation.server


class RecordedSimulation(Simulation):
    """Records the state of the cluster before each reconcile."""

    def __init__(self, server: ApiServer) -> None:
        super().__init__(server)
        self.states: list[ApiServer] = []

    def step(self) -> ReconcileOutcome:
        self.states.append(self.server.clone())
        return super().step()


SCENARIOS = {
    "promote": Scenario("2.0.0", serving("2.0.0")),
    "promote_without_control_group": Scenario("2.0.0", serving("2.0.0"), {"analysis": {"control": "Stable"}}),
    "roll_back": Scenario("3.0.0", phase("RolledBack")),
    "promote_and_autoscale": Scenario("2.0.0", serving("2.0.0"), {"serving": AUTOSCALED}, autoscaler_wants=6),
    "promote_after_mirroring": Scenario("2.0.0", serving("2.0.0"), COPIED),
    "roll_back_while_mirroring": Scenario("3.0.0", phase("RolledBack"), COPIED),
}
for_each_scenario = pytest.mark.parametrize("name", SCENARIOS)


@cache
def uninterrupted(name: str) -> RecordedSimulation:
    simulation = RecordedSimulation(first_deployment().clone())
    SCENARIOS[name].start(simulation)
    SCENARIOS[name].finish(simulation)
    return simulation


def before_write(write: int, name: str) -> Simulation:
    """The uninterrupted run at the start of the reconcile that makes this write; until then all runs are the same."""
    simulation = Simulation([state for state in uninterrupted(name).states if state.writes < write][-1].clone())
    simulation.record_shares()
    return simulation


def assert_same_end(simulation: Simulation, name: str, interruption: str) -> None:
    SCENARIOS[name].finish(simulation)
    assert simulation.end_state() == uninterrupted(name).end_state(), interruption
    assert simulation.server.shares == uninterrupted(name).server.shares, interruption


@for_each_scenario
@pytest.mark.parametrize("moment", ["before_write", "after_write"])
def test_an_operator_killed_at_any_write_reaches_the_same_end_state_by_the_same_steps(name: str, moment: str) -> None:
    writes = uninterrupted(name).server.writes
    assert writes > 5
    kills = 0
    for number in range(1, writes + 1):
        simulation = before_write(number, name)

        def die(seen: int, what: str, number: int = number) -> None:
            nonlocal kills
            if seen == number:
                kills += 1
                raise OperatorKilled(what)

        setattr(simulation.server, moment, die)
        assert_same_end(simulation, name, f"killed {moment} {number}")
    assert kills == writes


@for_each_scenario
def test_a_conflict_at_any_write_is_read_and_decided_again(name: str) -> None:
    writes = uninterrupted(name).server.writes
    conflicts = 0
    for number in range(1, writes + 1):
        simulation = before_write(number, name)

        def refuse(seen: int, what: str, number: int = number) -> None:
            nonlocal conflicts
            if seen == number:
                conflicts += 1
                raise Conflict(what)

        simulation.server.before_write = refuse
        assert_same_end(simulation, name, f"conflict at write {number}")
    assert conflicts == writes
