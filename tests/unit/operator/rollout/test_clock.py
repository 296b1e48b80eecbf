"""Clocks that jump, and hours in which nobody observed: nothing is shortened, ended or blocked by them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from iris_operator.api.status import ReleaseStatus
from iris_operator.rollout.clock import correct_times
from support.operator.api_server import START, Image
from support.operator.simulation import Simulation, at_weight, phase, serving

SOAK = {"steps": [{"weight": 10, "minDuration": "10m"}, {"weight": 50}], "interval": "5s", "holdTimeout": "20m"}
BAD = {"registry.example.com/iris:2.0.0": Image(error_share=1.0)}


def soaking(**rollout: Any) -> Simulation:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0", rollout={**SOAK, **rollout})
    simulation.run(at_weight(10))
    simulation.run_for(60)
    return simulation


def set_clock(simulation: Simulation, *, minutes: float) -> None:
    """The clocks of all machines jump, and Prometheus's with them."""
    jump, server, traffic = timedelta(minutes=minutes), simulation.server, simulation.traffic
    server.now += jump
    server._started_at = {name: born + jump for name, born in server._started_at.items()}
    for shares in (traffic.shares, traffic.control_shares, traffic.mirrored_shares):
        shares[:] = [(moment + jump, share) for moment, share in shares]


def times_of(value: Any) -> list[datetime]:
    """All times of a status but those of conditions and history."""
    if isinstance(value, dict):
        return [time for key, each in value.items() if key not in ("conditions", "history") for time in times_of(each)]
    return [value] if isinstance(value, datetime) else []


def test_a_clock_that_is_set_back_does_not_delay_a_rollback() -> None:
    simulation = soaking()
    set_clock(simulation, minutes=-30)
    simulation.server.images = BAD
    simulation.run(phase("RolledBack"), seconds=30)
    assert simulation.weight == 0


def test_one_pass_with_a_clock_that_is_ahead_leaves_no_time_in_the_future() -> None:
    simulation = soaking()
    simulation.clock_error = timedelta(minutes=90)
    simulation.step()
    simulation.clock_error = timedelta()
    simulation.run_for(5)
    assert max(times_of(simulation.status.model_dump())) <= simulation.server.now
    simulation.server.images = BAD
    simulation.run(phase("RolledBack"), seconds=30)


def test_a_clock_that_jumps_forward_shortens_no_soak() -> None:
    simulation = soaking()
    set_clock(simulation, minutes=10)
    simulation.run_for(480)
    assert (simulation.status.step.index, simulation.share) == (1, 10)
    simulation.run(at_weight(50), seconds=200)


def test_a_clock_that_jumps_forth_and_back_shortens_no_soak() -> None:
    simulation = soaking()
    for minutes in (10, 90):
        set_clock(simulation, minutes=minutes)
        simulation.run_for(3)
        set_clock(simulation, minutes=-minutes)
        simulation.run_for(5)
    simulation.run_for(460)
    assert (simulation.status.step.index, simulation.share) == (1, 10)
    simulation.run(at_weight(50), seconds=800)


def test_a_clock_that_jumps_forward_ends_no_release() -> None:
    simulation = soaking()
    simulation.traffic.error = "Prometheus is away"
    simulation.run_for(20)
    simulation.clock_error = timedelta(hours=5)
    simulation.run_for(60)
    assert (simulation.status.phase, simulation.share) == ("Progressing", 10)


def test_a_soak_is_not_skipped_by_an_operator_that_was_away() -> None:
    simulation = soaking()
    simulation.record_shares()
    simulation.server.advance(600)
    simulation.run_for(480)
    assert (simulation.status.step.index, simulation.share) == (1, 10)
    simulation.run(at_weight(50), seconds=200)


def test_a_promoted_version_is_watched_for_its_time_whatever_the_clock_does() -> None:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0", rollout={"steps": [{"weight": 50}], "interval": "5s", "watch": "5m"})
    simulation.run(serving("2.0.0"))
    simulation.run_for(20)
    simulation.clock_error = timedelta(hours=1)
    simulation.run_for(5)
    simulation.clock_error = timedelta()
    simulation.run_for(20)
    watch = simulation.status.watch
    assert watch is not None
    assert watch.until <= simulation.server.now + timedelta(minutes=5)
    assert simulation.ready("1.0.0") == 4


def test_correcting_the_times_twice_is_correcting_them_once() -> None:
    simulation = soaking()
    status = ReleaseStatus.model_validate(simulation.status)
    for hours in (-2, -1, 0, 1, 50):
        now = START + timedelta(hours=hours)
        once = correct_times(status, 600, now)
        assert correct_times(once, 600, now) == once
