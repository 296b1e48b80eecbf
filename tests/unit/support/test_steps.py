from __future__ import annotations

from dataclasses import replace

from iris_demo.observations import Observation, Release, ReleaseObserved, RouteObserved
from support.e2e.steps import steps_taken

WEIGHTS = (20, 60, 100)
CANARY = Release(spec_version="2.0.0", generation=2, observed_generation=2, stable="1.0.0", canary="2.0.0", steps=3)


def at_step(at: float, step: int, canary: Release = CANARY) -> ReleaseObserved:
    return ReleaseObserved(at, replace(canary, step=step))


PROMOTED: list[Observation] = [
    at_step(1.0, 0),
    at_step(2.0, 1),
    RouteObserved(2.1, 20),
    # The control group is ready.
    RouteObserved(2.5, 40),
    at_step(3.0, 2),
    RouteObserved(3.1, 100),
    # One pod of each: there is no more to give until the control group goes.
    at_step(4.0, 3),
    at_step(4.5, 3),
    RouteObserved(5.0, 0),
    at_step(5.1, 3),
]


def test_each_step_counts_once_whatever_the_weight_of_the_route() -> None:
    assert steps_taken(PROMOTED, WEIGHTS, 0.0) == [20, 60, 100, 0]


def test_a_step_counts_when_the_route_leads_to_the_canary() -> None:
    assert steps_taken([at_step(1.0, 1)], WEIGHTS, 0.0) == []
    assert steps_taken([RouteObserved(0.5, 20), at_step(1.0, 1)], WEIGHTS, 0.0) == [20]


def test_a_step_that_mirrors_is_left_out() -> None:
    seen: list[Observation] = [at_step(1.0, 1), at_step(2.0, 2), RouteObserved(2.1, 40)]
    assert steps_taken(seen, (0, 20, 100), 0.0) == [20]


def test_a_version_that_replaces_a_canary_takes_its_own_steps_after_the_loss() -> None:
    other = replace(CANARY, spec_version="2.1.0", canary="2.1.0", generation=3, observed_generation=3)
    seen: list[Observation] = [at_step(1.0, 1), RouteObserved(1.1, 20)]
    # The status is still about the canary before it.
    seen += [at_step(3.0, 1, replace(other, canary="2.0.0")), RouteObserved(3.1, 0), at_step(3.2, 0, other)]
    seen += [at_step(4.0, 1, other), RouteObserved(4.1, 20)]
    assert steps_taken(seen, WEIGHTS, 2.0) == [0, 20]


def test_a_step_that_is_taken_again_after_a_retreat_counts_again() -> None:
    seen: list[Observation] = [at_step(1.0, 1), RouteObserved(1.1, 20), RouteObserved(2.0, 0), RouteObserved(9.0, 20)]
    assert steps_taken(seen, WEIGHTS, 0.0) == [20, 0, 20]
