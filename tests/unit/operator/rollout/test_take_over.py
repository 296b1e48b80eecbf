"""Ways out when stable is what is broken: an earlier version goes back at once, and a fix gets traffic."""

from __future__ import annotations

from support.operator.api_server import Image
from support.operator.simulation import Simulation, at_weight, phase, serving

IMAGES = "registry.example.com/iris:"
STEPS = {"steps": [{"weight": 10, "minDuration": "1m"}, {"weight": 50, "minDuration": "1m"}], "interval": "5s"}
# The version that is promoted breaks when nobody watches it any more.
QUICK = {"steps": [{"weight": 100}], "interval": "5s", "watch": "0s", "scaleDownDelay": "10s"}


def promoted(**rollout: object) -> Simulation:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0", rollout={**QUICK, **rollout})
    simulation.run(serving("2.0.0"))
    simulation.run_for(30)
    assert simulation.replicas("1.0.0") == 0
    return simulation


def behaves(simulation: Simulation, **images: Image) -> None:
    simulation.server.images = {
        IMAGES + name.removeprefix("v").replace("_", "."): each for name, each in images.items()
    }
    simulation.server.advance(0)


def test_an_earlier_version_goes_back_at_once_when_the_promoted_one_answers_with_errors() -> None:
    simulation = promoted()
    behaves(simulation, v2_0_0=Image(error_share=0.5))
    simulation.run_for(30)
    simulation.apply("1.0.0", rollout=STEPS)
    status = simulation.run(serving("1.0.0"), seconds=30)
    assert simulation.server.shares[-2:] == [100, 0]
    assert status.rejected is None
    outcomes = [(entry.version, entry.outcome) for entry in status.history[:2]]
    assert outcomes == [("1.0.0", "Promoted"), ("2.0.0", "RolledBack")]
    assert "rollbackWindow" in status.history[0].reason
    simulation.run_for(60)
    assert (simulation.version_behind_stable_service(), simulation.status.phase) == ("1.0.0", "Stable")


def test_an_earlier_version_goes_back_at_once_when_the_pods_of_the_promoted_one_die() -> None:
    simulation = promoted()
    behaves(simulation, v2_0_0=Image(crash="out of memory"))
    simulation.run_for(30)
    simulation.apply("1.0.0", rollout=STEPS)
    simulation.run(serving("1.0.0"), seconds=60)


def test_an_earlier_version_that_does_not_start_replaces_nothing() -> None:
    simulation = promoted()
    behaves(simulation, v1_0_0=Image(crash="its database is gone"))
    simulation.apply("1.0.0", rollout=STEPS)
    simulation.run(phase("RolledBack"), seconds=60)
    assert (simulation.version_behind_stable_service(), simulation.weight) == ("2.0.0", 0)


def test_beyond_the_window_an_earlier_version_takes_the_steps() -> None:
    simulation = promoted(rollbackWindow=0)
    simulation.apply("1.0.0", rollout={**STEPS, "rollbackWindow": 0})
    simulation.run(at_weight(10))
    simulation.run_for(20)
    assert simulation.share == 10


def test_the_window_counts_promoted_versions() -> None:
    simulation = promoted(rollbackWindow=1)
    simulation.apply("3.0.0", rollout=QUICK)
    simulation.run(serving("3.0.0"))
    simulation.apply("1.0.0", rollout={**STEPS, "rollbackWindow": 1})
    simulation.run(at_weight(10))
    simulation.apply("2.0.0", rollout={**STEPS, "rollbackWindow": 1})
    simulation.run(serving("2.0.0"), seconds=60)


def test_a_version_that_was_left_takes_the_steps_when_it_is_applied_again() -> None:
    simulation = promoted()
    simulation.apply("1.0.0", rollout=STEPS)
    simulation.run(serving("1.0.0"), seconds=30)
    simulation.apply("2.0.0", rollout=STEPS)
    simulation.run(at_weight(10))
    simulation.run_for(20)
    assert simulation.share == 10


def test_a_fix_is_promoted_while_stable_answers_with_errors() -> None:
    simulation = promoted()
    behaves(simulation, v2_0_0=Image(error_share=0.5))
    simulation.run_for(60)
    simulation.apply("3.0.0", rollout={"steps": [{"weight": 10}, {"weight": 50}], "interval": "5s"})
    simulation.run(serving("3.0.0"), seconds=300)


def test_a_version_that_is_as_broken_as_stable_is_not_promoted() -> None:
    simulation = promoted()
    behaves(simulation, v2_0_0=Image(error_share=0.5), v3_0_0=Image(error_share=0.4))
    simulation.run_for(60)
    simulation.apply("3.0.0", rollout={"steps": [{"weight": 10}, {"weight": 50}], "interval": "5s"})
    simulation.run_for(300)
    assert simulation.version_behind_stable_service() == "2.0.0"


def test_a_fix_gets_all_traffic_at_once_when_no_pod_of_stable_is_ready_and_is_promoted_later() -> None:
    simulation = promoted()
    behaves(simulation, v2_0_0=Image(crash="out of memory"))
    simulation.run_for(10)
    simulation.apply("3.0.0", rollout={**STEPS, "readyTimeout": "5m"})
    simulation.run(lambda _: simulation.weight == 100, seconds=20)
    simulation.run_for(200)
    assert (simulation.status.phase, simulation.weight) == ("Progressing", 100)
    status = simulation.run(serving("3.0.0"), seconds=200)
    assert "no pod of the version before was ready" in status.history[0].reason


def test_a_fix_that_fails_is_replaced_by_the_next_version_while_no_pod_of_stable_is_ready() -> None:
    simulation = promoted()
    dead = Image(crash="out of memory")
    behaves(simulation, v2_0_0=dead, v3_0_0=Image(error_share=0.9))
    simulation.apply("3.0.0", rollout=STEPS)
    simulation.run(phase("RollingBack"), seconds=120)
    assert simulation.weight == 100
    simulation.apply("1.0.0", rollout=STEPS)
    status = simulation.run(serving("1.0.0"), seconds=60)
    outcomes = [(entry.version, entry.outcome) for entry in status.history[:3]]
    assert outcomes == [("1.0.0", "Promoted"), ("2.0.0", "RolledBack"), ("3.0.0", "RolledBack")]


def test_traffic_goes_to_the_canary_at_once_when_the_pods_of_stable_die_and_back_when_they_return() -> None:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0", rollout=STEPS)
    simulation.run(at_weight(10))
    behaves(simulation, v1_0_0=Image(ready_after=10_000))
    simulation.step()
    assert simulation.weight == 100
    simulation.run_for(60)
    assert simulation.version_behind_stable_service() == "1.0.0"
    behaves(simulation)
    simulation.step()
    assert simulation.weight == 0
    simulation.run(serving("2.0.0"), seconds=400)
    assert simulation.server.shares[-4:] == [10, 50, 100, 0]


def test_a_canary_that_fails_while_it_is_the_only_one_keeps_the_traffic_and_is_rolled_back_when_stable_returns() -> (
    None
):
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0", rollout=STEPS)
    simulation.run(at_weight(10))
    behaves(simulation, v1_0_0=Image(ready_after=10_000), v2_0_0=Image(error_share=0.5))
    simulation.run(phase("RollingBack"), seconds=120)
    assert simulation.weight == 100
    behaves(simulation, v2_0_0=Image(error_share=0.5))
    simulation.run(phase("RolledBack"), seconds=30)
    assert simulation.weight == 0
