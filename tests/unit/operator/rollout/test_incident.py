"""Trouble of both versions: it ends the release or becomes normal, and is never waited for without end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from iris_operator.api.status import ReleaseStatus, RolloutStatus
from iris_operator.rollout.incident import MAX_RETREATS, SHIFT_ACCEPTED_SECONDS, shift_accepted
from support.operator.api_server import Image
from support.operator.simulation import Simulation, at_weight, phase, serving

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BOTH = [f"registry.example.com/iris:{version}" for version in ("1.0.0", "2.0.0")]
HOUR = {"steps": [{"weight": 10, "minDuration": "1h"}], "interval": "5s"}


def released() -> Simulation:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0", rollout=HOUR)
    return simulation


def in_trouble(simulation: Simulation, *, both: bool) -> None:
    simulation.server.images = dict.fromkeys(BOTH, Image(error_share=0.3)) if both else {}


@pytest.mark.parametrize(
    ("seconds", "accepted"), [(None, False), (SHIFT_ACCEPTED_SECONDS - 1, False), (SHIFT_ACCEPTED_SECONDS, True)]
)
def test_trouble_of_both_versions_is_normal_after_ten_minutes(seconds: float | None, accepted: bool) -> None:
    since = None if seconds is None else NOW - timedelta(seconds=seconds)
    assert shift_accepted(ReleaseStatus(rollout=RolloutStatus(incident_since=since)), NOW) is accepted
    assert SHIFT_ACCEPTED_SECONDS == 600


def test_a_clock_that_was_set_back_accepts_nothing() -> None:
    since = NOW + timedelta(hours=1)
    assert not shift_accepted(ReleaseStatus(rollout=RolloutStatus(incident_since=since)), NOW)


def test_trouble_that_returns_with_the_canary_ends_the_release_after_three_retreats() -> None:
    simulation = released()
    for retreat in range(1, MAX_RETREATS + 1):
        simulation.run(at_weight(10), seconds=120)
        simulation.run_for(10)
        in_trouble(simulation, both=True)
        status = simulation.run(lambda status: status.step.index == 0, seconds=120)
        assert (status.rollout.retreats, simulation.weight) == (retreat, 0)
        in_trouble(simulation, both=False)
    simulation.run(at_weight(10), seconds=120)
    simulation.run_for(10)
    in_trouble(simulation, both=True)
    status = simulation.run(phase("RolledBack"), seconds=120)
    assert status.rejected is not None
    assert status.rejected.reason == "SharedIncident"
    assert "it happens when the canary gets traffic" in status.rejected.message


def test_stable_must_be_well_for_three_intervals_in_a_row_before_the_release_goes_on() -> None:
    simulation = released()
    simulation.run(at_weight(10))
    simulation.run_for(10)
    begun = simulation.status.rollout.traffic_since
    in_trouble(simulation, both=True)
    simulation.run(lambda status: status.step.index == 0)
    in_trouble(simulation, both=False)
    simulation.run(lambda status: status.rollout.clean_baselines == 2)
    in_trouble(simulation, both=True)
    simulation.run(lambda status: status.rollout.clean_baselines == 0, seconds=20)
    assert simulation.weight == 0
    in_trouble(simulation, both=False)
    seen = set()

    def recovered(status: ReleaseStatus) -> bool:
        seen.add(status.rollout.clean_baselines)
        return status.rollout.incident_since is None

    simulation.run(recovered, seconds=60)
    assert seen == {0, 1, 2}
    assert simulation.run(at_weight(10)).rollout.traffic_since == begun


def test_nothing_is_promoted_during_an_incident() -> None:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    quick = {"steps": [{"weight": 10, "minDuration": "40s"}, {"weight": 50}], "interval": "5s"}
    simulation.apply("2.0.0", rollout=quick)
    simulation.run(lambda status: bool(status.analysis and status.analysis.verdict == "Pass"))
    in_trouble(simulation, both=True)
    simulation.run(lambda status: status.rollout.incident_since is not None)
    assert simulation.status.step.index == 1
    while simulation.status.rollout.incident_since is not None and simulation.status.step.index:
        simulation.step()
        assert simulation.status.step.index <= 1


def test_trouble_that_stays_after_the_retreat_becomes_normal_and_an_equal_version_is_promoted() -> None:
    simulation = released()
    simulation.run(at_weight(10), seconds=120)
    in_trouble(simulation, both=True)
    simulation.run(lambda status: status.step.index == 0, seconds=120)
    begun = simulation.server.now
    simulation.apply("2.0.0", rollout={"steps": [{"weight": 10}, {"weight": 100}], "interval": "5s"})
    simulation.run(serving("2.0.0"), seconds=3 * SHIFT_ACCEPTED_SECONDS)
    assert (simulation.server.now - begun).total_seconds() > SHIFT_ACCEPTED_SECONDS - 60
