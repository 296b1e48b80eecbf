"""The operator is updated, or another one takes over, in the middle of a rollout: nothing changes by it."""

from __future__ import annotations

import pytest

from support.operator.api_server import Image
from support.operator.simulation import Simulation, phase, serving


@pytest.mark.parametrize("every", [1, 2, 7])
def test_operators_that_take_turns_end_where_one_alone_does(every: int) -> None:
    for images, until in (({}, serving("2.0.0")), ({"v2_0_0": Image(error_share=0.5)}, phase("RolledBack"))):
        alone, turns = Simulation(**images), Simulation(**images)
        for simulation in (alone, turns):
            simulation.apply("1.0.0")
            simulation.run(serving("1.0.0"))
            simulation.apply("2.0.0")
        alone.run(until)
        for number in range(4000):
            if number % every == 0:
                turns.start_operator()
            turns.step()
            if until(turns.status):
                break
        assert turns.server.shares == alone.server.shares
        assert turns.end_state() == alone.end_state()
