"""Releases in states that the real operator produced in virtual time, so they cannot differ from what it writes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from iris_demo.kube import Object
from iris_operator.api import names
from support.operator.api_server import Image
from support.operator.simulation import Simulation, at_weight, phase, serving


def release_in_state(name: str) -> Object:
    """A copy of the resource in that state, which a test may change."""
    # The simulation runs its own event loop, which needs another thread when a test already runs one.
    with ThreadPoolExecutor(1) as elsewhere:
        return copy.deepcopy(elsewhere.submit(_resource, name).result())


@cache
def _resource(name: str) -> Object:
    simulation = Simulation(v1_0_0=Image(), v2_0_0=Image(), v3_0_0=Image(error_share=1.0))
    simulation.apply("1.0.0")
    if name == "first_deployment":
        simulation.run(phase("Initializing"))
    else:
        simulation.run(serving("1.0.0"))
        _TRANSITIONS[name](simulation)
    resource: Object = simulation.server.objects[names.KIND, "iris", "iris"]
    return resource


def _progressing(simulation: Simulation) -> None:
    simulation.apply("2.0.0")
    simulation.run(at_weight(10))


def _paused(simulation: Simulation) -> None:
    _progressing(simulation)
    simulation.apply("2.0.0", paused=True)
    simulation.run(phase("Paused"))


def _promoted(simulation: Simulation) -> None:
    simulation.apply("2.0.0")
    simulation.run(serving("2.0.0"))


def _rolled_back(simulation: Simulation) -> None:
    simulation.apply("3.0.0")
    simulation.run(phase("RolledBack"))


_TRANSITIONS: Mapping[str, Callable[[Simulation], None]] = {
    "progressing": _progressing,
    "paused": _paused,
    "promoted": _promoted,
    "rolled_back": _rolled_back,
}
