"""The operator dies before and after each of its API writes; the end must be the one of the run without a death."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest

from iris_operator.api.status import ReleaseStatus
from iris_operator.engine.ports import Conflict
from iris_operator.engine.reconcile import Outcome
from unit.operator.api_server import ApiServer, Image, Killed
from unit.operator.simulation import AUTOSCALED, Simulation, phase, serving

COPIED = {"rollout": {"steps": [{"shadow": 20}, {"weight": 50}], "interval": "5s"}}
BAD = Image(error_share=0.5)


@dataclass(frozen=True)
class Story:
    """What a user asks for, and what comes of it."""

    version: str
    reached: Callable[[ReleaseStatus], bool]
    changes: Mapping[str, Any] = field(default_factory=dict)
    autoscaler_wants: int = 0

    def begin(self, simulation: Simulation) -> None:
        simulation.server.autoscaler_wants = self.autoscaler_wants
        simulation.apply(self.version, **self.changes)

    def finish(self, simulation: Simulation) -> None:
        _surviving(simulation, lambda: simulation.run(self.reached))
        # What stable needs no more goes with the pass after the one that closes the turn.
        _surviving(simulation, lambda: simulation.run_for(2))
        simulation.server.advance(0)


def _surviving(simulation: Simulation, act: Callable[[], object]) -> None:
    while True:
        try:
            act()
        except Killed:
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


class Remembered(Simulation):
    """Keeps the world as it was before each pass."""

    def __init__(self, server: ApiServer) -> None:
        super().__init__(server)
        self.past: list[ApiServer] = []

    def step(self) -> Outcome:
        self.past.append(self.server.copied())
        return super().step()


STORIES = {
    "promote": Story("2.0.0", serving("2.0.0")),
    "roll_back": Story("3.0.0", phase("RolledBack")),
    "promote_and_autoscale": Story("2.0.0", serving("2.0.0"), {"serving": AUTOSCALED}, autoscaler_wants=6),
    "promote_after_copies": Story("2.0.0", serving("2.0.0"), COPIED),
    "roll_back_on_copies": Story("3.0.0", phase("RolledBack"), COPIED),
}
of_each_story = pytest.mark.parametrize("name", STORIES)


@cache
def undisturbed(name: str) -> Remembered:
    simulation = Remembered(first_deployment().copied())
    STORIES[name].begin(simulation)
    STORIES[name].finish(simulation)
    return simulation


def shortly_before(write: int, name: str) -> Simulation:
    """The undisturbed story at the start of the pass that makes this write: up to there all runs are the same."""
    simulation = Simulation([world for world in undisturbed(name).past if world.writes < write][-1].copied())
    simulation.traffic.shares.append((simulation.server.now, simulation.weight / 100))
    simulation.traffic.copied.append((simulation.server.now, simulation.copies()[1]))
    return simulation


def assert_ends_undisturbed(simulation: Simulation, name: str, disturbance: str) -> None:
    STORIES[name].finish(simulation)
    assert simulation.picture() == undisturbed(name).picture(), disturbance
    assert simulation.server.weights == undisturbed(name).server.weights, disturbance


@of_each_story
@pytest.mark.parametrize("moment", ["before_write", "after_write"])
def test_a_death_at_any_write_changes_neither_the_end_nor_the_steps(name: str, moment: str) -> None:
    writes = undisturbed(name).server.writes
    assert writes > 5
    deaths = 0
    for number in range(1, writes + 1):
        simulation = shortly_before(number, name)

        def die(seen: int, what: str, number: int = number) -> None:
            nonlocal deaths
            if seen == number:
                deaths += 1
                raise Killed(what)

        setattr(simulation.server, moment, die)
        assert_ends_undisturbed(simulation, name, f"killed {moment} {number}")
    assert deaths == writes


@of_each_story
def test_a_conflict_at_any_write_is_read_again_and_decided_again(name: str) -> None:
    writes = undisturbed(name).server.writes
    conflicts = 0
    for number in range(1, writes + 1):
        simulation = shortly_before(number, name)

        def refuse(seen: int, what: str, number: int = number) -> None:
            nonlocal conflicts
            if seen == number:
                conflicts += 1
                raise Conflict(what)

        simulation.server.before_write = refuse
        assert_ends_undisturbed(simulation, name, f"conflict at write {number}")
    assert conflicts == writes
