"""What people ask for by annotations: obeyed or refused once, bound to revision, attempt and step, and answered."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from iris_operator.api import names
from support.operator.api_server import Image
from support.operator.simulation import Simulation, at_weight, phase, serving

SLOW = {"steps": [{"weight": 10, "minDuration": "1h"}, {"weight": 50, "minDuration": "1h"}], "interval": "5s"}
APPROVAL = {"steps": [{"weight": 10}, {"weight": 20, "approval": True}], "interval": "5s"}
BAD = {"registry.example.com/iris:2.0.0": Image(error_share=0.5)}


def released(rollout: Mapping[str, object]) -> Simulation:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0", rollout=rollout)
    simulation.run(at_weight(10))
    return simulation


def canary_of(simulation: Simulation) -> str:
    canary = simulation.status.canary
    assert canary is not None
    return canary.revision


def events(simulation: Simulation, reason: str) -> list[str]:
    return [message for each, message in simulation.server.events if each == reason]


def retried(simulation: Simulation) -> None:
    """Rolled back, and tried again."""
    simulation.annotate("abort", canary_of(simulation))
    simulation.run(phase("RolledBack"))
    simulation.annotate("abort", None)
    simulation.annotate("retry", "again")
    simulation.run(at_weight(10))


def test_promote_leaves_out_the_remaining_steps_and_names_who_asked() -> None:
    simulation = released(SLOW)
    simulation.annotate("promote", canary_of(simulation), manager="alice")
    status = simulation.run(serving("2.0.0"), seconds=120)
    assert simulation.server.shares == [10, 100, 0]
    assert status.history[0].reason == "a person asked for it"
    (asked,) = events(simulation, "PromoteRequested")
    assert "by alice" in asked


def test_a_promoted_canary_is_still_judged() -> None:
    simulation = released(SLOW)
    simulation.server.images = BAD
    simulation.annotate("promote", canary_of(simulation))
    status = simulation.run(phase("RolledBack"), seconds=120)
    assert status.rejected is not None
    assert (status.rejected.reason, simulation.version_behind_stable_service()) == ("ErrorRate", "1.0.0")


def test_promote_waits_for_ready_pods() -> None:
    simulation = released(SLOW)
    simulation.server.endpoints_listed = False
    simulation.annotate("promote", canary_of(simulation))
    simulation.run_for(60)
    assert simulation.version_behind_stable_service() == "1.0.0"
    assert max(simulation.server.shares) == 10


def test_promote_does_not_override_a_pause_in_the_spec() -> None:
    simulation = released(SLOW)
    simulation.apply("2.0.0", rollout=SLOW, paused=True)
    simulation.annotate("promote", canary_of(simulation))
    simulation.run_for(30)
    assert (simulation.status.phase, simulation.share) == ("Paused", 10)
    assert "it waits, since spec.paused is true" in events(simulation, "PromoteRequested")[0]


def test_promote_is_an_answer_to_a_step_that_waits_for_approval() -> None:
    simulation = released(APPROVAL)
    simulation.run(phase("Paused"))
    simulation.annotate("promote", canary_of(simulation))
    simulation.run(serving("2.0.0"), seconds=120)


def test_abort_sets_weight_0_in_the_pass_that_sees_it_and_the_version_stays_rejected() -> None:
    simulation = released(SLOW)
    simulation.annotate("abort", canary_of(simulation), manager="bob")
    simulation.step()
    assert simulation.weight == 0
    status = simulation.run(phase("RolledBack"))
    assert status.rejected is not None
    assert status.rejected.reason == "Aborted"
    assert "by bob" in status.rejected.message
    simulation.run_for(60)
    assert simulation.status.phase == "RolledBack"


def test_abort_during_promotion_goes_back() -> None:
    simulation = released({"steps": [{"weight": 10}, {"weight": 100}], "interval": "5s"})
    revision = canary_of(simulation)
    simulation.run(phase("Promoting"))
    simulation.annotate("abort", revision)
    simulation.run(phase("RolledBack"))
    assert (simulation.version_behind_stable_service(), simulation.weight) == ("1.0.0", 0)


@pytest.mark.parametrize("annotation", ["promote", "abort"])
@pytest.mark.parametrize("value", ["0123456789", "yes", "", "REVISION/7", "REVISION/x"])
def test_a_value_for_another_rollout_or_of_no_known_form_does_nothing_and_says_so_once(
    annotation: str, value: str
) -> None:
    simulation = released(SLOW)
    simulation.annotate(annotation, value.replace("REVISION", canary_of(simulation)), manager="carol")
    simulation.run_for(20)
    assert (simulation.status.phase, simulation.share) == ("Progressing", 10)
    (ignored,) = events(simulation, "AnnotationIgnored")
    assert f"{names.GROUP}/{annotation}" in ignored
    assert "by carol" in ignored


def test_an_old_value_does_not_act_on_a_new_attempt() -> None:
    simulation = released(SLOW)
    revision = canary_of(simulation)
    simulation.annotate("abort", revision)
    simulation.run(phase("RolledBack"))
    simulation.annotate("retry", "again")
    simulation.run(at_weight(10))
    simulation.run_for(20)
    assert (simulation.status.phase, simulation.status.rollout.attempt) == ("Progressing", 2)
    simulation.annotate("abort", f"{revision}/1")
    simulation.run_for(10)
    assert simulation.status.phase == "Progressing"
    assert "this is attempt 2" in events(simulation, "AnnotationIgnored")[-1]
    simulation.annotate("abort", f"{revision}/2")
    simulation.run(phase("RolledBack"))


def test_a_value_without_an_attempt_that_was_written_in_a_later_attempt_acts_on_it() -> None:
    simulation = released(SLOW)
    revision = canary_of(simulation)
    retried(simulation)
    simulation.annotate("abort", revision)
    simulation.run(phase("RolledBack"))


def test_a_value_that_nobody_is_known_to_have_written_in_a_later_attempt_does_nothing() -> None:
    simulation = released(SLOW)
    revision = canary_of(simulation)
    retried(simulation)
    simulation.annotate("abort", revision)
    simulation.server.objects[names.KIND, "iris", "iris"]["metadata"]["managedFields"] = []
    simulation.run_for(10)
    assert simulation.status.phase == "Progressing"
    assert "/2 at its end" in events(simulation, "AnnotationIgnored")[-1]


def test_a_retry_that_names_another_revision_does_nothing_and_says_so_once() -> None:
    simulation = released(SLOW)
    simulation.annotate("abort", canary_of(simulation))
    simulation.run(phase("RolledBack"))
    simulation.annotate("retry", "0123456789")
    simulation.run_for(20)
    assert simulation.status.phase == "RolledBack"
    assert len(events(simulation, "AnnotationIgnored")) == 1
    assert simulation.status.rejected is not None
    simulation.annotate("retry", simulation.status.rejected.revision, manager="dave")
    simulation.run(at_weight(10))
    assert "by dave" in events(simulation, "RetryRequested")[0]


def test_the_message_says_what_to_write_for_an_approval() -> None:
    simulation = released(APPROVAL)
    status = simulation.run(phase("Paused"))
    value = f"{canary_of(simulation)}/2@20"
    assert f"{names.ANNOTATION_APPROVED}={value}" in status.rollout.message
    simulation.annotate("approved", value, manager="erin")
    simulation.run(at_weight(20))
    assert "by erin" in events(simulation, "Approved")[0]


@pytest.mark.parametrize("form", ["/2", "/2@20"])
@pytest.mark.parametrize("written", ["before the edit", "after the edit"])
def test_an_approval_of_one_weight_does_not_let_another_through(form: str, written: str) -> None:
    simulation = released(APPROVAL)
    simulation.run(phase("Paused"))
    value = canary_of(simulation) + form
    edited = {"steps": [{"weight": 10}, {"weight": 90, "approval": True}], "interval": "5s"}
    if written == "before the edit":
        # Seen by the operator, but not acted upon: there are no metrics.
        simulation.traffic.error = "Prometheus is away"
        simulation.run_for(10)
        simulation.annotate("approved", value)
        simulation.step()
        simulation.apply("2.0.0", rollout=edited)
        simulation.step()
        simulation.traffic.error = ""
    else:
        simulation.apply("2.0.0", rollout=edited)
        simulation.run_for(10)
        simulation.annotate("approved", value)
    simulation.run_for(60)
    assert (simulation.status.phase, simulation.share) == ("Paused", 10)
    assert f"{canary_of(simulation)}/2@90" in simulation.status.rollout.message
    simulation.annotate("approved", f"{canary_of(simulation)}/2@90")
    simulation.run(serving("2.0.0"))
    assert 90 in simulation.server.shares


def test_an_approval_of_an_earlier_attempt_does_not_count_for_a_later_one() -> None:
    simulation = released(APPROVAL)
    revision = canary_of(simulation)
    simulation.run(phase("Paused"))
    simulation.annotate("approved", f"{revision}/2@20")
    simulation.run(at_weight(20))
    retried(simulation)
    status = simulation.run(phase("Paused"))
    assert f"{revision}/2@20/2" in status.rollout.message
    simulation.run_for(30)
    assert simulation.share == 10
    simulation.annotate("approved", f"{revision}/2@20/2")
    simulation.run(serving("2.0.0"))


def test_annotations_that_were_there_before_the_first_version_serves_mean_nothing() -> None:
    simulation = Simulation()
    simulation.apply("1.0.0")
    for annotation in ("promote", "abort", "approved"):
        simulation.annotate(annotation, "0123456789")
    simulation.run(serving("1.0.0"))
    simulation.run_for(10)
    assert events(simulation, "AnnotationIgnored") == []
