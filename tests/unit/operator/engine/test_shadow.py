"""A step that mirrors requests to the canary: whole releases in virtual time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from iris_operator.api import names
from iris_operator.api.spec import ReleaseSpec
from iris_operator.api.status import CheckStatus, ReleaseStatus
from support.operator.api_server import Image
from support.operator.simulation import Simulation, manifest, phase, serving

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
    """Until: requests are mirrored to the canary, and the step has begun."""
    return status.step.index == 1 and status.rollout.step_started_at is not None


def test_a_good_version_gets_mirrored_requests_first_and_is_promoted() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", **SHADOW)
    status = simulation.run(shadowing)
    assert (simulation.shadow_target(), simulation.weight, status.weight) == (("2.0.0", 0.2), 0, 0)
    simulation.run(lambda status: status.step.index == 2)
    simulation.step()
    # Labels of mirrored requests may still arrive.
    assert simulation.shadow_target() == ("2.0.0", 0.0)
    simulation.run(serving("2.0.0"))
    assert simulation.server.shares == [10, 50, 100, 0]
    simulation.step()
    assert simulation.shadow_target() == ("", 0.0)
    reasons = [reason for reason, _ in simulation.server.events]
    assert reasons == [
        *("Deploying", "Deployed", "ReleaseStarted", "Shadowing"),
        *["WeightShifted"] * 3,
        "Promoted",
    ]


def test_the_step_begins_when_the_shadow_config_is_observed_and_not_when_it_is_written() -> None:
    simulation = deployed()
    simulation.server.config_maps_listed = False
    simulation.apply("2.0.0", **SHADOW)
    status = simulation.run_for(30)
    assert simulation.shadow_target() == ("2.0.0", 0.2)
    assert (status.step.index, status.rollout.step_started_at, status.rollout.reason) == (1, None, "Shifting")
    simulation.server.config_maps_listed = True
    simulation.run(serving("2.0.0"))


def test_a_version_that_fails_on_copies_never_gets_a_request() -> None:
    simulation = deployed(v2_0_0=Image(error_share=0.3))
    simulation.apply("2.0.0", **SHADOW)
    status = simulation.run(phase("RolledBack"))
    assert status.rejected is not None
    assert status.rejected.reason in ("ErrorRate", "InferenceFailures")
    assert set(simulation.server.weights) <= {0}
    simulation.run_for(5)
    assert simulation.shadow_target() == ("", 0.0)


def test_copies_that_are_slower_than_users_requests_are_not_held_against_the_version() -> None:
    """It failed when the copies' durations were compared with those of stable's own pods."""
    simulation = deployed()
    simulation.traffic.mirrored_slow_share = 0.3
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(serving("2.0.0"), seconds=600)
    assert "RollingBack" not in [reason for reason, _ in simulation.server.events]


def test_a_version_that_is_slower_than_the_control_group_on_the_same_copies_is_rolled_back() -> None:
    simulation = deployed(v2_0_0=Image(slow_share=0.3))
    simulation.traffic.mirrored_slow_share = 0.1
    # Long enough for evidence: a step to a small share of the traffic tolerates more.
    simulation.apply("2.0.0", rollout={"steps": [{**STEPS[0], "minDuration": "2m"}, *STEPS[1:]], "interval": "5s"})
    status = simulation.run(phase("RolledBack"), seconds=300)
    assert status.rejected is not None
    assert status.rejected.reason == "Latency"
    assert set(simulation.server.weights) <= {0}


def test_both_arms_get_the_copies_through_services_of_their_own() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(shadowing)
    control = simulation.status.control
    assert control is not None
    assert simulation.shadow_control() == control.revision
    pods = {
        labels[names.LABEL_REVISION]
        for (kind, _, _), found in simulation.server.objects.items()
        if kind == "Pod"
        and (labels := found["metadata"]["labels"]).items() >= _selector(simulation, "iris-control").items()
    }
    assert pods == {control.revision}
    assert names.LABEL_REVISION in _selector(simulation, "iris-canary")


def test_without_a_control_group_only_the_canary_gets_copies() -> None:
    simulation = Simulation()
    spec = {**SHADOW, "analysis": {"control": "Stable"}}
    simulation.apply("1.0.0", **spec)
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0", **spec)
    simulation.run(shadowing)
    assert simulation.shadow_control() == ""
    assert ("Service", "iris", "iris-control") not in simulation.server.objects


def test_a_service_of_the_control_group_that_was_changed_by_hand_is_repaired() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(shadowing)
    simulation.server.objects["Service", "iris", "iris-control"]["spec"]["selector"][names.LABEL_ARM] = "other"
    simulation.run_for(5)
    assert _selector(simulation, "iris-control")[names.LABEL_ARM] == names.ARM_CONTROL
    assert "ShadowRepaired" in [reason for reason, _ in simulation.server.events]


def test_in_a_shadow_step_of_all_requests_both_arms_have_the_same_number_of_pods() -> None:
    """It failed when the control group had a quarter of the pods, as in the last step, for the same copies."""
    simulation = Simulation()
    spec = {"rollout": {**SHADOW["rollout"], "steps": [{"shadow": 100, "minDuration": "10s"}, *STEPS[1:]]}}
    simulation.apply("1.0.0", serving={"replicas": 4}, **spec)
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0", serving={"replicas": 4}, **spec)
    status = simulation.run(shadowing)
    assert status.control is not None
    assert status.canary is not None
    assert status.control.pods == 4
    canary = simulation.server.objects["Deployment", "iris", names.workload_name("iris", status.canary.revision)]
    assert canary["spec"]["replicas"] == 4


def test_an_incident_of_both_versions_stops_mirroring_until_stable_recovers() -> None:
    """It failed when the step stayed after the traffic moved to stable."""
    simulation = deployed()
    long = [{**STEPS[0], "minDuration": "1h"}, *STEPS[1:]]
    simulation.apply("2.0.0", rollout={"steps": long, "interval": "5s"})
    simulation.run(shadowing)
    simulation.run_for(20)
    broken = {f"registry.example.com/iris:{version}": Image(error_share=0.3) for version in ("1.0.0", "2.0.0")}
    simulation.server.images = broken
    simulation.run(lambda status: status.rollout.reason == "SharedIncident" and status.step.index == 0)
    simulation.run_for(20)
    assert simulation.shadow_target() == ("", 0.0)
    assert (simulation.status.phase, simulation.status.rejected, simulation.weight) == ("Progressing", None, 0)
    simulation.server.images = {}
    simulation.run(shadowing, seconds=120)
    assert simulation.shadow_target() == ("2.0.0", 0.2)
    assert set(simulation.server.weights) <= {0}
    reasons = [reason for reason, _ in simulation.server.events]
    assert reasons.index("Recovered") > reasons.index("SharedIncident")
    assert "RollingBack" not in reasons


def test_without_mirrored_requests_the_step_never_passes_and_the_release_times_out() -> None:
    simulation = deployed()
    simulation.server.mirroring = False
    simulation.apply("2.0.0", rollout={**SHADOW["rollout"], "holdTimeout": "2m"})
    status = simulation.run(phase("Paused"), seconds=300)
    assert status.rejected is not None
    assert status.rejected.reason == "HoldTimeout"
    assert set(simulation.server.weights) <= {0}
    assert "at step 1. copies Hold: no pod of stable mirrors requests" in status.rejected.message


def test_a_shadow_config_that_is_never_observed_times_out() -> None:
    simulation = deployed()
    simulation.server.config_maps_listed = False
    simulation.apply("2.0.0", rollout={**SHADOW["rollout"], "holdTimeout": "2m"})
    status = simulation.run(phase("Paused"), seconds=300)
    assert status.rejected is not None
    assert (status.rejected.reason, simulation.weight) == ("HoldTimeout", 0)


def test_the_dwell_time_starts_with_the_first_mirrored_request() -> None:
    simulation = deployed()
    simulation.server.mirroring = False
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(shadowing)
    status = simulation.run_for(40)
    assert _check(simulation, "copies").verdict == "Hold"
    assert (status.step.index, status.rollout.reason) == (1, "Soaking")
    simulation.server.mirroring = True
    begun = simulation.server.now
    simulation.run(lambda status: status.step.index == 2)
    # As long as the step, give or take an interval or two: how many requests were mirrored is known at the end of one.
    assert 5 <= (simulation.server.now - begun).total_seconds() <= 20
    assert _check(simulation, "copies").requests >= 20


def test_other_evidence_does_not_replace_mirrored_requests() -> None:
    simulation = deployed()
    rollout = {"steps": [{"weight": 50, "minDuration": "20m"}, {"weight": 100}], "interval": "5s"}
    simulation.apply("2.0.0", rollout=rollout)
    simulation.run(lambda status: _verdict(status) == "Pass")
    simulation.server.mirroring = False
    simulation.apply("2.0.0", rollout={**rollout, "steps": [{"shadow": 20, "minDuration": "5m"}, {"weight": 100}]})
    status = simulation.run_for(60)
    assert (status.step.index, simulation.weight, _verdict(status)) == (1, 0, "Hold")


def test_removing_the_shadow_step_restarts_the_release() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(shadowing)
    simulation.apply("2.0.0", rollout={"steps": STEPS[1:], "interval": "5s"})
    simulation.run(serving("2.0.0"))
    assert simulation.server.shares == [10, 50, 100, 0]
    assert simulation.shadow_target() == ("", 0.0)


def test_steps_edited_to_all_of_the_traffic_wait_for_the_pods_that_it_needs() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(shadowing)
    simulation.server.images = {"registry.example.com/iris:2.0.0": Image(ready_after=60)}
    simulation.apply("2.0.0", rollout={"steps": [{"weight": 100}], "interval": "5s"})
    simulation.run(lambda _: simulation.weight == 100)
    assert simulation.ready("2.0.0") == 4


def test_a_larger_shadow_share_waits_for_the_pods_that_it_needs() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(shadowing)
    simulation.server.images = {"registry.example.com/iris:2.0.0": Image(ready_after=60)}
    simulation.apply("2.0.0", rollout={"steps": [{"shadow": 80, "minDuration": "5m"}, *STEPS[1:]], "interval": "5s"})
    simulation.run_for(10)
    assert simulation.shadow_target() == ("2.0.0", 0.2)
    simulation.run(lambda _: simulation.ready("2.0.0") == 4)
    simulation.step()
    simulation.step()
    assert simulation.shadow_target() == ("2.0.0", 0.8)


def test_an_operator_that_restarts_in_the_step_continues_it() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", **SHADOW)
    begun = simulation.run(shadowing).rollout.step_started_at
    simulation.start_operator()
    status = simulation.run_for(3)
    assert (status.rollout.step_started_at, simulation.shadow_target()) == (begun, ("2.0.0", 0.2))
    simulation.apply("2.0.0", **SHADOW, paused=True)
    simulation.start_operator()
    status = simulation.run_for(60)
    assert (status.step.index, simulation.shadow_target(), simulation.weight) == (1, ("2.0.0", 0.2), 0)
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(serving("2.0.0"))


def test_a_version_that_is_wrong_where_stable_is_right_is_rejected_by_paired_labels() -> None:
    simulation = deployed()
    simulation.traffic.label_shares = (0.6, 0.3, 0.0, 0.1)
    settings = {"checks": {"accuracy": {"maxDrop": 0.05}}}
    simulation.apply("2.0.0", **SHADOW, analysis=settings)
    status = simulation.run(phase("RolledBack"))
    assert status.rejected is not None
    assert status.rejected.reason == "Accuracy"
    assert set(simulation.server.weights) <= {0}


def test_stable_pods_are_not_replaced_when_the_shadow_config_changes() -> None:
    simulation = deployed()
    born = dict(simulation.server._started_at)
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(serving("2.0.0"))
    assert {name: at for name, at in simulation.server._started_at.items() if name in born} == born
    deployment = next(item for key, item in simulation.server.objects.items() if key[0] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "IRIS_SHADOW_FILE", "value": "/etc/iris/shadow/plan.json"} in container["env"]


def test_an_edited_shadow_config_is_repaired() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(shadowing)
    config_map = simulation.server.objects["ConfigMap", "iris", "iris-shadow"]
    config = json.loads(config_map["data"]["plan.json"])
    config_map["data"]["plan.json"] = json.dumps({**config, "url": "http://elsewhere"})
    simulation.step()
    assert simulation.shadow_target() == ("2.0.0", 0.2)
    assert "ShadowRepaired" in [reason for reason, _ in simulation.server.events]
    config_map = simulation.server.objects["ConfigMap", "iris", "iris-shadow"]
    config_map["data"]["plan.json"] = "{"
    simulation.step()
    assert simulation.shadow_target() == ("2.0.0", 0.2)


def test_the_agreement_of_both_versions_is_reported_and_kept() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(lambda status: status.step.index == 2)
    agreement = _agreement(simulation)
    assert agreement.verdict == "Pass"
    assert agreement.requests > 100
    assert agreement.canary == pytest.approx(0.9, abs=0.01)
    assert agreement.reason == f"the same answers to 90 % of {agreement.requests:,} mirrored requests"
    simulation.traffic.error = "Prometheus is away"
    simulation.run_for(12)
    assert simulation.status.analysis is not None
    assert simulation.status.analysis.verdict == "Error"
    assert _agreement(simulation) == agreement
    simulation.traffic.error = ""
    simulation.start_operator()
    simulation.run_for(12)
    after = _agreement(simulation)
    assert after.requests >= agreement.requests
    assert after.canary == pytest.approx(0.9, abs=0.01)


def _agreement(simulation: Simulation) -> CheckStatus:
    return _check(simulation, "agreement")


def _check(simulation: Simulation, name: str) -> CheckStatus:
    assert simulation.status.analysis is not None
    return next(check for check in simulation.status.analysis.checks if check.name == name)


def _verdict(status: ReleaseStatus) -> str:
    return status.analysis.verdict if status.analysis else ""


def test_a_release_without_a_shadow_step_has_no_shadow_config() -> None:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0")
    simulation.run(serving("2.0.0"))
    assert not [key for key in simulation.server.objects if key[0] == "ConfigMap"]
    assert not any(question.shadow_revision for question in simulation.traffic.queries)


def test_a_release_that_its_user_withdraws_stops_mirroring() -> None:
    simulation = deployed()
    simulation.apply("2.0.0", **SHADOW)
    simulation.run(shadowing)
    simulation.apply("1.0.0", **SHADOW)
    simulation.run(serving("1.0.0"))
    simulation.step()
    assert simulation.shadow_target() == ("", 0.0)


def test_the_canary_has_as_many_pods_as_its_mirrored_requests_need() -> None:
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
def test_invalid_shadow_steps_are_refused(steps: list[dict[str, Any]], message: str) -> None:
    spec = manifest("1.0.0", rollout={"steps": steps})["spec"]
    with pytest.raises(ValidationError, match=message):
        ReleaseSpec.model_validate(spec)


def test_the_names_of_the_shadow_config_are_those_in_the_pod_template() -> None:
    assert (names.SHADOW_FOLDER, names.SHADOW_FILE) == ("/etc/iris/shadow", "plan.json")


def _selector(simulation: Simulation, service: str) -> dict[str, str]:
    selector: dict[str, str] = simulation.server.objects["Service", "iris", service]["spec"]["selector"]
    return selector
