from __future__ import annotations

import json
from typing import Any

import pytest

from iris_operator.engine.pods import crash_message, is_disrupted, is_ready, probe_failure, waiting_reason


def pod(*containers: dict[str, Any], **status: Any) -> dict[str, Any]:
    named = [{"name": "inference", **container} for container in containers]
    return {"metadata": {"name": "iris-1"}, "status": {"containerStatuses": named, **status}}


def terminated(**how: Any) -> dict[str, Any]:
    return {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": how}}


def test_a_container_that_exited_is_a_crash_with_its_termination_message() -> None:
    assert crash_message(pod(terminated(exitCode=1, message="no such\nfile"))) == (
        "pod iris-1: container inference exited with 1: no such file"
    )


def test_of_json_log_lines_the_error_is_quoted() -> None:
    lines = [
        {"level": "CRITICAL", "message": "model refused", "error": "digest differs"},
        {"level": "INFO", "message": "drained"},
    ]
    message = "cut off}\n" + "\n".join(map(json.dumps, lines))
    assert crash_message(pod(terminated(exitCode=1, message=message))).endswith(
        "exited with 1: model refused: digest differs"
    )


def test_a_long_termination_message_keeps_its_end() -> None:
    text = crash_message(pod(terminated(exitCode=1, message="x" * 5000 + "the reason")))
    assert len(text) < 600
    assert text.endswith("the reason")


def test_an_oom_kill_is_a_crash_whatever_the_exit_code() -> None:
    assert "OOMKilled" in crash_message(pod(terminated(exitCode=0, reason="OOMKilled")))


def test_a_container_that_ended_well_is_no_crash() -> None:
    assert crash_message(pod({"state": {"terminated": {"exitCode": 0}}})) == ""
    assert crash_message({"metadata": {"name": "iris-1"}}) == ""


def test_a_waiting_pod_has_a_reason() -> None:
    waits = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}
    assert waiting_reason(pod(waits)) == "pod iris-1: ImagePullBackOff: not found"
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    assert waiting_reason(pod(conditions=[unscheduled])) == "pod iris-1: Unschedulable: 0/1 nodes"
    assert waiting_reason(pod({"state": {"waiting": {"reason": "ContainerCreating"}}})) == "pod iris-1 is not ready yet"


def test_readiness_is_the_pods_ready_condition() -> None:
    ready = pod(conditions=[{"type": "Ready", "status": "True"}])
    assert is_ready(ready)
    assert waiting_reason(ready) == ""
    assert not is_ready(pod())


def condition(kind: str, status: str, reason: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason}


RUNNING = {"state": {"running": {}}, "started": True, "ready": False}
UNREADY = condition("Ready", "False", "ContainersNotReady")


@pytest.mark.parametrize(
    "status",
    [
        {"reason": "Evicted", "phase": "Failed"},
        {"reason": "NodeLost"},
        {"reason": "Terminated", "phase": "Failed"},
        {"conditions": [condition("DisruptionTarget", "True", "PreemptionByScheduler"), UNREADY]},
        {"conditions": [condition("Ready", "False"), condition("ContainersReady", "True")]},
        {"conditions": [condition("Ready", "Unknown", "NodeStatusUnknown")]},
    ],
)
def test_what_the_node_or_the_cluster_did_to_a_pod_is_no_crash_and_no_failing_probe(status: dict[str, Any]) -> None:
    assert is_disrupted(pod(RUNNING, **status))
    assert probe_failure(pod(RUNNING, **status)) == ""
    assert crash_message(pod(terminated(exitCode=137), **status)) == ""


@pytest.mark.parametrize("reason", ["ContainerStatusUnknown", "Unknown"])
def test_a_container_that_nobody_saw_ending_is_no_crash(reason: str) -> None:
    assert crash_message(pod(terminated(exitCode=255, reason=reason))) == ""


def test_a_running_container_that_is_not_ready_fails_its_probe() -> None:
    unready = [UNREADY, condition("ContainersReady", "False")]
    assert probe_failure(pod(RUNNING, conditions=unready)) == (
        "pod iris-1: container inference runs and fails its readiness probe"
    )
    assert not is_disrupted(pod(RUNNING, conditions=unready))
    assert probe_failure(pod({**RUNNING, "started": False}, conditions=unready)) == ""
    assert probe_failure(pod({"state": {"waiting": {"reason": "ContainerCreating"}}}, conditions=unready)) == ""
