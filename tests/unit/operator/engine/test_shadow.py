"""A step in which the canary gets copies of requests: whole releases in virtual time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from iris_operator.api import names
from iris_operator.api.spec import ReleaseSpec
from iris_operator.api.status import CheckStatus, ReleaseStatus
from unit.operator.api_server import Image
from unit.operator.simulation import Simulation, manifest, phase, serving

STEPS: list[dict[str, Any]] = [
    {"shadow": 20, "minDuration": "10s"},
    {"weight": 10, "minDuration": "10s"},
    {"weight": 50},
    {"weight": 100},
]
SHADOW: dict[str, Any] = {"rollout": {"steps": STEPS, "interval": "5s"}}


def deployed(**images: Image) -> Simulation:
    simulation = Simulation(**images)
    simulation.apply("1.0.0", **SHADOW)
    simulation.run(serving("1.0.0"))
    return simulation


def shadowing(status: ReleaseStatus) -> bool:
    """Until: the canary gets copies, and the step has begun."""
    return status.step.index == 1 and status.rollout.step_started_at is not None


def test_a_good_version_gets_copies_before_it_gets_a_request_and_is_promoted() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", **SHADOW)
    status = simulation.run(shadowing)
    assert (simulation.copies(), simulation.weight, status.weight) == (("2.0.0", 0.2), 0, 0)
    simulation.run(lambda status: status.step.index == 2)
    simulation.step()
    # Labels still come for what was copied.
    assert simulation.copies() == ("2.0.0", 0.0)
    simulation.run(serving("2.0.0"))
    assert simulation.server.weights == [10, 50, 100, 0]
    simulation.step()
    assert simulation.copies() == ("", 0.0)
    reasons = [reason for reason, _ in simulation.server.events]
    assert reasons == [
        *("Deploying", "Deployed", "ReleaseStarted", "Shadowing"),
        *["WeightShifted"] * 3,
        "Promoted",
    ]


def test_the_step_begins_when_the_plan_is_seen_and_not_when_it_is_written() -> None:
    simulation = deployed()
    simulation.server.plans_listed = False
    simulation.apply("2.0.0", **SHADOW)
    status = simulation.run_for(30)
    assert simulation.copies() == ("2.0.0", 0.2)
    assert (status.step.index, status.rollout.step_started_at, status.rollout.reason) == (1, None, "Shifting")
    simulation.server.plans_listed = True
    simulation.run(serving("2.0.0"))


def test_a_version_that_fails_on_copies_never_gets_a_request() -> None:
    simulation = deployed(v2_0_0=Image(error_share=0.3))
    simulation.apply("2.0.0", **SHADOW)
    status = simulation.run(phase("RolledBack"))
    assert status.rejected is not None
    assert status.rejected.reason in ("ErrorRate", "InferenceFailures")
    assert set(simulation.server.weights) <= {0}
    simulation.run_for(5)
    assert simulation.copies() == ("", 0.0)


def test_trouble_of_both_versions_stops_the_copies_until_stable_recovers() -> None:
    """Seen to fail when the retreat stays in its step."""
    simulation = deployed()
    long = [{**STEPS[0], "minDuration": "1h"}, *STEPS[1:]]
    simulation.apply("2.0.0", rollout={"steps": long, "interval": "5s"})
    simulation.run(shadowing)
    simulation.run_for(20)
    broken = {f"registry.example.com/iris:{version}": Image(error_share=0.3) for version in ("1.0.0", "2.0.0")}
    simulation.server.images = broken
    simulation.run(lambda status: status.rollout.reason == "SharedIncident" and status.step.index == 0)
    simulation.run_for(20)
    assert simulation.copies() == ("", 0.0)
    assert (simulation.status.phase, simulation.status.rejected, simulation.weight) == ("Progressing", None, 0)
    simulation.server.images = {}
    simulation.run(shadowing, seconds=120)
    assert simulation.copies() == ("2.0.0", 0.2)
    assert set(simulation.server.weights) <= {0}
    reasons = [reason for reason, _ in simulation.server.events]
    assert reasons.index("Recovered") > reasons.index("SharedIncident")
    assert "RollingBack" not in reasons


def test_without_copies_no_request_follows_and_the_release_gives_up() -> None:
    simulation = deployed()
    simulation.server.copies_sent = False
    simulation.apply("2.0.0", rollout={**SHADOW["rollout"], "holdTimeout": "2m"})
    status = simulation.run(phase("Paused"), seconds=300)
    assert status.rejected is not None
    assert status.rejected.reason == "HoldTimeout"
    assert set(simulation.server.weights) <= {0}
    assert "at step 1. copies Hold: no pod of stable copies requests" in status.rejected.message


def test_a_plan_that_nobody_sees_is_given_up_as_well() -> None:
    simulation = deployed()
    simulation.server.plans_listed = False
    simulation.apply("2.0.0", rollout={**SHADOW["rollout"], "holdTimeout": "2m"})
    status = simulation.run(phase("Paused"), seconds=300)
    assert status.rejected is not None
    assert (status.rejected.reason, simulation.weight) == ("HoldTimeout", 0)


def test_the_shortest_stay_counts_from_the_first_copy() -> None:
    simulation = deployed()
    simulation.server.copies_sent = False
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(shadowing)
    status = simulation.run_for(40)
    assert _check(simulation, "copies").verdict == "Hold"
    assert (status.step.index, status.rollout.reason) == (1, "Soaking")
    simulation.server.copies_sent = True
    begun = simulation.server.now
    simulation.run(lambda status: status.step.index == 2)
    # As long as the step lasts, and two intervals: which copies came in is known at the end of one.
    assert 10 <= (simulation.server.now - begun).total_seconds() <= 20
    assert _check(simulation, "copies").requests >= 100


def test_evidence_from_elsewhere_does_not_stand_in_for_copies() -> None:
    simulation = deployed()
    rollout = {"steps": [{"weight": 50, "minDuration": "20m"}, {"weight": 100}], "interval": "5s"}
    simulation.apply("2.0.0", rollout=rollout)
    simulation.run(lambda status: _verdict(status) == "Pass")
    simulation.server.copies_sent = False
    simulation.apply("2.0.0", rollout={**rollout, "steps": [{"shadow": 20, "minDuration": "5m"}, {"weight": 100}]})
    status = simulation.run_for(60)
    assert (status.step.index, simulation.weight, _verdict(status)) == (1, 0, "Hold")


def test_a_step_of_copies_that_is_edited_away_begins_the_release_anew() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(shadowing)
    simulation.apply("2.0.0", rollout={"steps": STEPS[1:], "interval": "5s"})
    simulation.run(serving("2.0.0"))
    assert simulation.server.weights == [10, 50, 100, 0]
    assert simulation.copies() == ("", 0.0)


def test_steps_edited_to_all_of_the_traffic_wait_for_the_pods_that_it_needs() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(shadowing)
    simulation.server.images = {"registry.example.com/iris:2.0.0": Image(ready_after=60)}
    simulation.apply("2.0.0", rollout={"steps": [{"weight": 100}], "interval": "5s"})
    simulation.run(lambda _: simulation.weight == 100)
    assert simulation.ready("2.0.0") == 4


def test_more_copies_wait_for_the_pods_that_they_need() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(shadowing)
    simulation.server.images = {"registry.example.com/iris:2.0.0": Image(ready_after=60)}
    simulation.apply("2.0.0", rollout={"steps": [{"shadow": 80, "minDuration": "5m"}, *STEPS[1:]], "interval": "5s"})
    simulation.run_for(10)
    assert simulation.copies() == ("2.0.0", 0.2)
    simulation.run(lambda _: simulation.ready("2.0.0") == 4)
    simulation.step()
    simulation.step()
    assert simulation.copies() == ("2.0.0", 0.8)


def test_an_operator_that_starts_in_the_step_goes_on_with_it() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", **SHADOW)
    begun = simulation.run(shadowing).rollout.step_started_at
    simulation.start_operator()
    status = simulation.run_for(3)
    assert (status.rollout.step_started_at, simulation.copies()) == (begun, ("2.0.0", 0.2))
    simulation.apply("2.0.0", **SHADOW, paused=True)
    simulation.start_operator()
    status = simulation.run_for(60)
    assert (status.step.index, simulation.copies(), simulation.weight) == (1, ("2.0.0", 0.2), 0)
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(serving("2.0.0"))


def test_a_version_that_is_wrong_where_stable_is_right_is_found_by_the_labels() -> None:
    simulation = deployed()
    simulation.traffic.labelled = (0.6, 0.3, 0.0, 0.1)
    settings = {"checks": {"accuracy": {"maxDrop": 0.05}}}
    simulation.apply("2.0.0", **SHADOW, analysis=settings)
    status = simulation.run(phase("RolledBack"))
    assert status.rejected is not None
    assert status.rejected.reason == "Accuracy"
    assert set(simulation.server.weights) <= {0}


def test_the_pods_of_stable_stay_while_the_plan_changes() -> None:
    simulation = deployed()
    born = dict(simulation.server._born)
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(serving("2.0.0"))
    assert {name: at for name, at in simulation.server._born.items() if name in born} == born
    deployment = next(item for key, item in simulation.server.objects.items() if key[0] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "IRIS_SHADOW_FILE", "value": "/etc/iris/shadow/plan.json"} in container["env"]


def test_a_plan_that_somebody_edits_is_put_right() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(shadowing)
    plan = simulation.server.objects["ConfigMap", "iris", "iris-shadow"]
    told = json.loads(plan["data"]["plan.json"])
    plan["data"]["plan.json"] = json.dumps({**told, "url": "http://elsewhere"})
    simulation.step()
    assert simulation.copies() == ("2.0.0", 0.2)
    assert "ShadowRepaired" in [reason for reason, _ in simulation.server.events]
    plan = simulation.server.objects["ConfigMap", "iris", "iris-shadow"]
    plan["data"]["plan.json"] = "{"
    simulation.step()
    assert simulation.copies() == ("2.0.0", 0.2)


def test_how_often_both_agree_is_told_and_not_forgotten() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(lambda status: status.step.index == 2)
    told = _agreement(simulation)
    assert told.verdict == "Pass"
    assert told.requests > 100
    assert told.canary == pytest.approx(0.9, abs=0.01)
    assert told.reason == f"the same answers to 90 % of {told.requests:,} copied requests"
    simulation.traffic.down = "Prometheus is away"
    simulation.run_for(12)
    assert simulation.status.analysis is not None
    assert simulation.status.analysis.verdict == "Error"
    assert _agreement(simulation) == told
    simulation.traffic.down = ""
    simulation.start_operator()
    simulation.run_for(12)
    after = _agreement(simulation)
    assert after.requests >= told.requests
    assert after.canary == pytest.approx(0.9, abs=0.01)


def _agreement(simulation: Simulation) -> CheckStatus:
    return _check(simulation, "agreement")


def _check(simulation: Simulation, name: str) -> CheckStatus:
    assert simulation.status.analysis is not None
    return next(check for check in simulation.status.analysis.checks if check.name == name)


def _verdict(status: ReleaseStatus) -> str:
    return status.analysis.verdict if status.analysis else ""


def test_a_release_without_such_a_step_has_no_plan() -> None:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0")
    simulation.run(serving("2.0.0"))
    assert not [key for key in simulation.server.objects if key[0] == "ConfigMap"]
    assert not any(question.copied_to for question in simulation.traffic.asked)


def test_a_release_that_is_taken_back_by_its_user_stops_the_copies() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(shadowing)
    simulation.apply("1.0.0", **SHADOW)
    simulation.run(serving("1.0.0"))
    simulation.step()
    assert simulation.copies() == ("", 0.0)


def test_the_canary_has_as_many_pods_as_its_copies_need() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", rollout={"steps": [{"shadow": 60, "minDuration": "10s"}, *STEPS[1:]], "interval": "5s"})
    simulation.run(shadowing)
    assert simulation.ready("2.0.0") == 3


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"shadow": 10, "weight": 10}], "either"),
        ([{"minDuration": "1m"}], "either"),
        ([{"weight": 10}, {"shadow": 10}], "first"),
        ([{"shadow": 1}, {"shadow": 10}, {"weight": 100}], "first"),
        ([{"shadow": 0}], "greater"),
        ([{"shadow": 101}], "less"),
    ],
)
def test_steps_that_cannot_be_are_refused(steps: list[dict[str, Any]], message: str) -> None:
    spec = manifest("1.0.0", rollout={"steps": steps})["spec"]
    with pytest.raises(ValidationError, match=message):
        ReleaseSpec.model_validate(spec)


def test_names_of_the_plan_are_those_that_the_pods_are_told() -> None:
    assert (names.SHADOW_FOLDER, names.SHADOW_FILE) == ("/etc/iris/shadow", "plan.json")
