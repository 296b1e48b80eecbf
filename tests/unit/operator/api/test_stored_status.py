"""What can be read of a status that was edited, or stored by another version of the operator."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from iris_operator.api.status import Outcome, Phase, ReleaseStatus, RevisionRef, Stage
from iris_operator.api.stored_status import read_status

REF = {"revision": "aaaaaaaaaa", "version": "1.0.0", "image": "r/i:1"}
OTHER = {"revision": "bbbbbbbbbb", "version": "2.0.0", "image": "r/i:2"}
ENTRY = {**REF, "outcome": "Promoted", "reason": "x", "finishedAt": "2026-01-01T00:00:00Z"}
STORED: dict[str, Any] = {
    "observedGeneration": 3,
    "phase": "RolledBack",
    "step": {"index": 1, "count": 3},
    "stable": REF,
    "rejected": {**OTHER, "reason": "ErrorRate", "at": "2026-01-01T00:00:00Z"},
    "rollout": {"stage": "Idle", "reason": "ErrorRate", "confirmedWeight": 10},
    "history": [{**ENTRY, "outcome": "RolledBack"}, ENTRY, {**ENTRY, "reason": "y"}],
    "analysis": {"verdict": "Fail", "checks": [{"name": "errorRate", "verdict": "Fail", "reason": "r"}]},
    "conditions": [
        {"type": "Ready", "status": "True", "reason": "Serving", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    ],
}


def edited(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(STORED), **changes}


def test_a_whole_status_is_read_as_it_is() -> None:
    stored = read_status(STORED)
    assert stored.status == ReleaseStatus.model_validate(STORED)
    assert not stored.unreadable
    assert stored.updated(stored.status) == stored.status.to_json()


@pytest.mark.parametrize("nothing", [None, {}])
def test_no_status_is_the_empty_one(nothing: Any) -> None:
    stored = read_status(nothing)
    assert (stored.status, stored.blocking, stored.ignored) == (ReleaseStatus(), (), ())


@pytest.mark.parametrize("wrong", ["text", 7, [1], True])
def test_a_status_that_is_no_object_blocks(wrong: Any) -> None:
    stored = read_status(wrong)
    assert "status" in stored.blocking[0]


def test_an_unknown_phase_and_unknown_conditions_are_derived_and_never_needed() -> None:
    condition = {"type": "Shiny", "status": "True", "reason": "x", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    stored = read_status(edited(phase="SomethingNewer", conditions=[condition, *STORED["conditions"]], weight="x"))
    assert not stored.blocking
    assert not stored.ignored
    assert stored.status.phase is Phase.INITIALIZING
    assert [each.type for each in stored.status.conditions] == ["Ready"]
    assert stored.status.rejected is not None


def test_a_broken_entry_of_the_history_is_left_out_named_and_kept_in_its_place() -> None:
    raw = edited()
    del raw["history"][1]["finishedAt"]
    raw["history"][2]["outcome"] = "SomethingNewer"
    stored = read_status(raw)
    assert [entry.outcome for entry in stored.status.history] == [Outcome.ROLLED_BACK]
    assert not stored.blocking
    text = "; ".join(stored.ignored)
    assert "status.history[1].finishedAt: Field required" in text
    assert "status.history[2].outcome" in text
    assert stored.updated(stored.status)["history"] == [stored.status.to_json()["history"][0], *raw["history"][1:]]
    newer = stored.status.model_copy(update={"history": [stored.status.history[0], *stored.status.history]})
    assert stored.updated(newer)["history"][2:] == raw["history"][1:]


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("rollout", "stage"), "SomethingNewer", "status.rollout.stage"),
        (("rollout", "confirmedWeight"), "many", "status.rollout.confirmedWeight"),
        (("rollout", "stepStartedAt"), "yesterday", "status.rollout.stepStartedAt"),
        (("rollout",), [], "status.rollout"),
        (("stable", "image"), None, "status.stable.image"),
        (("stable",), "1.0.0", "status.stable"),
        (("canary",), {"revision": "x"}, "status.canary.version"),
        (("rejected", "at"), "?", "status.rejected.at"),
        (("step", "index"), "one", "status.step.index"),
        (("watch",), {"previous": REF}, "status.watch.until"),
    ],
)
def test_a_durable_part_that_cannot_be_read_blocks_is_named_and_is_stored_as_it_was(
    path: tuple[str, ...], value: Any, named: str
) -> None:
    raw = edited()
    container = raw
    for step in path[:-1]:
        container = container[step]
    container[path[-1]] = value
    stored = read_status(raw)
    assert any(named in problem for problem in stored.blocking)
    written = stored.updated(stored.status.model_copy(update={"phase": Phase.DEGRADED}))
    found: Any = written
    for step in path:
        found = found[step]
    assert found == value
    # What is next to it is still used.
    assert stored.status.history[0].outcome is Outcome.ROLLED_BACK


def test_fields_of_a_newer_operator_are_ignored_and_stay() -> None:
    raw = edited(lease={"holder": "a"})
    raw["rollout"]["cooling"] = {"until": "x"}
    raw["stable"]["digest"] = "sha256:0"
    stored = read_status(raw)
    assert not stored.unreadable
    written = stored.updated(stored.status.model_copy(update={"weight": 5}))
    assert (written["lease"], written["rollout"]["cooling"]) == ({"holder": "a"}, {"until": "x"})
    assert written["stable"]["digest"] == "sha256:0"


def test_fields_of_a_newer_operator_go_with_what_they_are_about() -> None:
    raw = edited()
    raw["rollout"]["cooling"] = {"until": "x"}
    raw["stable"]["digest"] = "sha256:0"
    stored = read_status(raw)
    rollout = stored.status.rollout.model_copy(update={"stage": Stage.PROGRESSING})
    after = stored.status.model_copy(update={"rollout": rollout, "stable": RevisionRef.model_validate(OTHER)})
    written = stored.updated(after)
    assert "cooling" not in written["rollout"]
    assert "digest" not in written["stable"]


def test_an_unreadable_analysis_is_left_out_and_replaced_by_the_next_judgement() -> None:
    stored = read_status(edited(analysis={"checks": 7, "judgedAt": "never"}))
    assert not stored.blocking
    assert stored.status.analysis is not None
    assert stored.status.analysis.checks == []
    assert stored.ignored
