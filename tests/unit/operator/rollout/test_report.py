"""What the status says at every stage: conditions as kstatus reads them, and why a version failed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from iris_operator.api.crd import custom_resource_definition
from iris_operator.api.status import ConditionStatus, Phase, Rejected, ReleaseStatus, RevisionRef
from iris_operator.engine.ports import Forbidden, Unverified
from iris_operator.engine.release import parse_status
from iris_operator.rollout.report import degraded
from support.operator.api_server import START, Image
from support.operator.simulation import Simulation, at_share, phase, serving
from support.operator.stages import CURRENT, FAILED, IN_PROGRESS, TERMINATING, At, all_stages

STABLE = RevisionRef(revision="aaaaaaaaaa", version="1.0.0", image="registry.example.com/iris:1.0.0")
BAD = RevisionRef(revision="bbbbbbbbbb", version="2.0.0", image="registry.example.com/iris:2.0.0")


def conditions(release: Mapping[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in release.get("status", {}).get("conditions", [])}


def is_observed(release: Mapping[str, Any]) -> bool:
    return bool(release["status"]["observedGeneration"] == release["metadata"]["generation"])


@pytest.mark.parametrize("at", all_stages(), ids=lambda at: at.stage)
def test_the_conditions_say_whether_it_is_done_failed_or_going_on(at: At) -> None:
    """The real library says so in tests/integration/operator/test_health.py; this is what it decides by."""
    found = conditions(at.release)
    assert {"False", "Unknown"}.isdisjoint({found.get("Reconciling"), found.get("Stalled")})
    assert not {"Reconciling", "Stalled"} <= found.keys()
    if at.expected == TERMINATING:
        return
    if not is_observed(at.release):
        assert at.expected == IN_PROGRESS
        return
    assert {FAILED: "Stalled" in found, IN_PROGRESS: "Reconciling" in found}.get(at.expected, True)
    if at.expected == CURRENT:
        assert found == {"Ready": "True", "Promoted": "True", "Progressing": "False", "Degraded": "False"}


@pytest.mark.parametrize("at", all_stages(), ids=lambda at: at.stage)
def test_the_column_verdict_tells_why_a_version_failed(at: At) -> None:
    (version,) = custom_resource_definition()["spec"]["versions"]
    (path,) = (each["jsonPath"] for each in version["additionalPrinterColumns"] if each["name"] == "Verdict")
    value: Any = at.release
    for field in path.strip(".").split("."):
        value = (value or {}).get(field)
    assert (value or "") == at.verdict


@pytest.mark.parametrize("at", all_stages(), ids=lambda at: at.stage)
def test_promoted_is_true_only_while_the_spec_that_was_seen_is_served(at: At) -> None:
    assert (conditions(at.release).get("Promoted") == "True") == at.promoted
    if at.promoted and is_observed(at.release):
        assert at.expected == CURRENT
    reasons = {
        each["reason"]
        for each in at.release.get("status", {}).get("conditions", [])
        if each["type"] == "Promoted" and each["status"] != "True"
    }
    assert reasons <= {"RolledBack", "Progressing", "Paused"}


def test_the_default_of_the_crd_is_read_as_no_status_yet() -> None:
    (version,) = custom_resource_definition()["spec"]["versions"]
    default = version["schema"]["openAPIV3Schema"]["properties"]["status"]["default"]
    assert default == {"observedGeneration": -1}
    assert parse_status({"status": default}) == parse_status({}) == ReleaseStatus()


@pytest.mark.parametrize(
    ("ready_pods", "ready", "reason"),
    [(3, "True", "Serving"), (0, "False", "NoReadyPods"), (None, "Unknown", "Unknown")],
)
def test_a_failed_reconcile_says_of_stable_what_is_known(ready_pods: int | None, ready: str, reason: str) -> None:
    before = ConditionStatus(
        type="Ready", status="True", reason="Serving", last_transition_time=START, observed_generation=1
    )
    status = ReleaseStatus(stable=STABLE, conditions=[before])
    after = degraded(status, 1, "Unverified", "weight 0 reads back as 10", START + timedelta(seconds=9), ready_pods)
    found = next(each for each in after.conditions if each.type == "Ready")
    assert (found.status, found.reason) == (ready, reason)
    assert found.last_transition_time == (START if ready == "True" else START + timedelta(seconds=9))


@pytest.mark.parametrize(
    ("reason", "seconds", "expected"),
    [
        ("InvalidSpec", 0, "Stalled"),
        ("MissingRights", 0, "Stalled"),
        ("UnknownRevision", 0, "Stalled"),
        ("Unverified", 0, "Reconciling"),
        ("InternalError", 299, "Reconciling"),
        ("InternalError", 300, "Stalled"),
        ("Unavailable", 86_400, "Reconciling"),
    ],
)
def test_a_failure_is_stalled_when_a_person_must_act_and_reconciling_while_retries_may_help(
    reason: str, seconds: int, expected: str
) -> None:
    status = degraded(ReleaseStatus(stable=STABLE), 1, reason, "why", START, 3)
    status = degraded(status, 1, reason, "why", START + timedelta(seconds=seconds), 3)
    assert [each.type for each in status.conditions if each.type in ("Reconciling", "Stalled")] == [expected]


def test_a_version_that_was_rolled_back_stays_failed_during_an_outage() -> None:
    rejected = Rejected(**BAD.model_dump(), reason="Latency", message="slow", at=START)
    not_promoted = ConditionStatus(
        type="Promoted", status="False", reason="RolledBack", last_transition_time=START, observed_generation=4
    )
    status = ReleaseStatus(stable=STABLE, rejected=rejected, conditions=[not_promoted])
    after = degraded(status, 4, "Unverified", "why", START, 3)
    stalled = next(each for each in after.conditions if each.type == "Stalled")
    assert (stalled.reason, after.verdict_text) == ("Latency", "Latency")
    after = degraded(status, 5, "Unverified", "why", START, 3)
    assert [each.type for each in after.conditions if each.type in ("Reconciling", "Stalled")] == ["Reconciling"]


@pytest.mark.parametrize("error", [Forbidden("cannot patch"), Unverified("reads back as 0")])
def test_a_release_does_not_look_well_between_two_attempts_that_fail(error: Exception) -> None:
    """The status is stored before the actions run, and says of an action that failed before that it is not done."""
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0")
    simulation.run(at_share(10))
    seen: list[Phase] = []
    written: list[str] = []

    def refuse(_number: int, what: str) -> None:
        seen.append(simulation.status.phase)
        written.append(what)
        if what.startswith("apply Ingress"):
            raise error

    simulation.server.before_write = refuse
    simulation.run(phase("Degraded"))
    seen.clear()
    written.clear()
    simulation.run_for(60)
    assert set(seen) == {Phase.DEGRADED}
    assert sum(what.startswith("apply IrisModelRelease") for what in written) <= 2, "the status is the same each time"
    simulation.server.before_write = lambda _number, _what: None
    simulation.run(serving("2.0.0"))
    assert conditions(simulation.server.objects["IrisModelRelease", "iris", "iris"])["Degraded"] == "False"


def test_a_status_of_the_operator_before_is_read_and_completed() -> None:
    """It knew neither `Reconciling` nor `Stalled`, nor the text of the verdict."""
    simulation = Simulation(v3_0_0=Image(error_share=0.5))
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("3.0.0")
    simulation.run(phase("RolledBack"))
    stored = simulation.server.objects["IrisModelRelease", "iris", "iris"]
    stored["status"]["conditions"] = [each for each in stored["status"]["conditions"] if each["type"] != "Stalled"]
    del stored["status"]["verdictText"]
    simulation.start_operator()
    status = simulation.run_for(2)
    assert status.verdict_text == "ErrorRate"
    assert [(each.reason, each.status) for each in status.conditions if each.type == "Stalled"] == [
        ("ErrorRate", "True")
    ]
