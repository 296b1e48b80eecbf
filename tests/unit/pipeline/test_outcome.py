"""Against resources as the real operator leaves them."""

from __future__ import annotations

import pytest

from iris_demo.kube import Object
from iris_pipeline.outcome import DesiredModel, Outcome, State, desired_model, outcome_of
from support.operator.stages import CURRENT, FAILED, At, all_stages
from support.pipeline.operated import release_in_state


def outcome(resource: Object) -> Outcome:
    return outcome_of(resource, desired_model(resource))


def test_a_promoted_release_is_promoted() -> None:
    found = outcome(release_in_state("promoted"))
    assert found.state is State.PROMOTED
    assert found.decided
    assert found.reason == "all checks passed"


def test_a_rollback_has_the_operators_reason() -> None:
    found = outcome(release_in_state("rolled_back"))
    assert found.state is State.ROLLED_BACK
    assert found.reason.startswith("ErrorRate: version 3.0.0: ")


@pytest.mark.parametrize("name", ["first_deployment", "progressing", "paused"])
def test_a_release_in_progress_is_pending(name: str) -> None:
    found = outcome(release_in_state(name))
    assert found.state is State.PENDING
    assert not found.decided


def test_a_pending_outcome_says_what_is_awaited() -> None:
    assert "% of the traffic" in outcome(release_in_state("progressing")).reason
    assert outcome(release_in_state("paused")).reason.startswith("Paused")


def test_a_status_about_the_previous_spec_is_pending() -> None:
    for name in ("promoted", "rolled_back"):
        resource = release_in_state(name)
        resource["metadata"]["generation"] += 1
        assert outcome(resource).state is State.PENDING
        assert "has not seen it yet" in outcome(resource).reason


def test_the_right_version_in_another_image_is_not_promoted() -> None:
    resource = release_in_state("promoted")
    resource["status"]["stable"]["image"] = "registry.example.com/iris-inference@sha256:other"
    assert outcome(resource).state is State.PENDING


def test_a_release_that_was_changed_meanwhile_is_superseded() -> None:
    resource = release_in_state("promoted")
    found = outcome_of(resource, DesiredModel("3.0.0", "registry.example.com/iris-inference@sha256:mine"))
    assert found.state is State.SUPERSEDED
    assert "version 2.0.0" in found.reason


def test_a_missing_release_is_deleted() -> None:
    assert outcome_of(None, DesiredModel("2.0.0", "i")).state is State.DELETED


@pytest.mark.parametrize("at", all_stages(), ids=lambda at: at.stage)
def test_a_wait_ends_exactly_when_the_release_is_done_or_failed(at: At) -> None:
    found = outcome(dict(at.release))
    if at.expected == CURRENT:
        assert found.state is State.PROMOTED
    elif at.expected == FAILED:
        failed = "rolled back" in at.stage or at.stage in ("failed, its pods are kept", "no verdict in time")
        assert found.state is (State.ROLLED_BACK if failed else State.FAILED)
        assert at.verdict in found.reason
    else:
        assert found.state is State.PENDING
