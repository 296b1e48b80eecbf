"""Against resources as the real operator leaves them."""

from __future__ import annotations

import pytest

from iris_demo.kube import Object
from iris_pipeline.outcome import Outcome, State, Wanted, outcome_of, wanted_of
from unit.pipeline.operated import operated


def outcome(resource: Object) -> Outcome:
    return outcome_of(resource, wanted_of(resource))


def test_a_promoted_release_is_promoted() -> None:
    found = outcome(operated("promoted"))
    assert found.state is State.PROMOTED
    assert found.decided
    assert found.reason == "all checks passed"


def test_a_release_that_was_taken_back_is_rolled_back_for_the_reason_that_the_operator_gave() -> None:
    found = outcome(operated("rolled_back"))
    assert found.state is State.ROLLED_BACK
    assert found.reason.startswith("ErrorRate: version 3.0.0: ")


@pytest.mark.parametrize("name", ["first_deployment", "progressing", "paused"])
def test_a_release_on_its_way_goes_on_being_waited_for(name: str) -> None:
    found = outcome(operated(name))
    assert found.state is State.PENDING
    assert not found.decided


def test_a_wait_says_what_it_waits_for() -> None:
    assert "% of the traffic" in outcome(operated("progressing")).reason
    assert outcome(operated("paused")).reason.startswith("Paused")


def test_a_status_about_the_spec_before_says_nothing_about_this_one() -> None:
    for name in ("promoted", "rolled_back"):
        resource = operated(name)
        resource["metadata"]["generation"] += 1
        assert outcome(resource).state is State.PENDING
        assert "has not seen it yet" in outcome(resource).reason


def test_the_right_version_in_another_image_is_not_what_was_asked_for() -> None:
    resource = operated("promoted")
    resource["status"]["stable"]["image"] = "registry.example.com/iris-inference@sha256:other"
    assert outcome(resource).state is State.PENDING


def test_a_release_that_somebody_else_changed_is_superseded() -> None:
    resource = operated("promoted")
    found = outcome_of(resource, Wanted("3.0.0", "registry.example.com/iris-inference@sha256:mine"))
    assert found.state is State.SUPERSEDED
    assert "version 2.0.0" in found.reason


def test_a_release_that_is_gone_is_deleted() -> None:
    assert outcome_of(None, Wanted("2.0.0", "i")).state is State.DELETED
