"""The operator dies before and after each of its API writes; the end must be the one of the run without a death."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from iris_operator.engine.ports import Conflict
from unit.operator.api_server import ApiServer, Image, Killed
from unit.operator.simulation import AUTOSCALED, Simulation, phase, serving

BAD = Image(error_share=0.5)


def promote(simulation: Simulation) -> None:
    simulation.apply("2.0.0")
    _until(simulation, serving("2.0.0"))


def roll_back(simulation: Simulation) -> None:
    simulation.apply("3.0.0")
    _until(simulation, phase("RolledBack"))


def promote_and_autoscale(simulation: Simulation) -> None:
    simulation.server.autoscaler_wants = 6
    simulation.apply("2.0.0", serving=AUTOSCALED)
    _until(simulation, serving("2.0.0"))
    simulation.server.advance(0)


def _until(simulation: Simulation, reached: Callable[..., bool]) -> None:
    _surviving(simulation, lambda: simulation.run(reached))
    # What stable needs no more goes with the pass after the one that closes the turn.
    _surviving(simulation, lambda: simulation.run_for(2))


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


def deployed() -> Simulation:
    return Simulation(first_deployment().copied())


STORIES = [promote, roll_back, promote_and_autoscale]


@cache
def undisturbed(story: Callable[[Simulation], None]) -> tuple[int, dict[str, object], list[int]]:
    simulation = deployed()
    story(simulation)
    return simulation.server.writes, simulation.picture(), simulation.server.weights


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("moment", ["before_write", "after_write"])
def test_a_death_at_any_write_changes_neither_the_end_nor_the_steps(
    story: Callable[[Simulation], None], moment: str
) -> None:
    writes, picture, weights = undisturbed(story)
    assert writes > 5
    for number in range(1, writes + 1):
        simulation = deployed()

        def die(seen: int, what: str, number: int = number) -> None:
            if seen == number:
                raise Killed(what)

        setattr(simulation.server, moment, die)
        story(simulation)
        assert simulation.picture() == picture, f"killed {moment} {number}"
        assert simulation.server.weights == weights, f"killed {moment} {number}"


@pytest.mark.parametrize("story", STORIES)
def test_a_conflict_at_any_write_is_read_again_and_decided_again(story: Callable[[Simulation], None]) -> None:
    writes, picture, weights = undisturbed(story)
    for number in range(1, writes + 1):
        simulation = deployed()

        def refuse(seen: int, what: str, number: int = number) -> None:
            if seen == number:
                raise Conflict(what)

        simulation.server.before_write = refuse
        story(simulation)
        assert simulation.picture() == picture, f"conflict at write {number}"
        assert simulation.server.weights == weights, f"conflict at write {number}"
