import json
from collections.abc import Callable
from typing import Any

import pytest

from iris_install import rollout
from iris_install.errors import InstallError

Json = dict[str, Any]


class Time:
    """A clock that advances only by sleeping; scheduled actions run when their time is reached."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.scheduled: dict[float, Callable[[], None]] = {}

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        if due := self.scheduled.pop(self.seconds, None):
            due()

    def clock(self) -> rollout.Clock:
        return rollout.Clock(now=lambda: self.seconds, sleep=self.sleep)


class Cluster:
    """Answers as kubectl does for workloads that all run, unless a test changes them."""

    def __init__(self) -> None:
        self.statuses: dict[str, Json] = {}
        self.pods: dict[str, Json] = {}
        self.unreachable = False
        self.shown: list[tuple[str, ...]] = []

    def run(self, *arguments: str) -> str:
        if self.unreachable:
            raise InstallError("connection refused")
        if arguments[0] == "wait":
            return ""
        if arguments[1] == "pods":
            name = next(part for part in arguments if part.startswith("--selector")).rpartition("=")[2]
            return json.dumps({"items": [{"status": self.pods.get(name, {})}]})
        ready = {"observedGeneration": 3, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}
        status = self.statuses.get(arguments[2], ready)
        return json.dumps({"metadata": {"generation": 3}, "spec": {"replicas": 1}, "status": status})

    def run_visibly(self, *arguments: str) -> bool:
        self.shown.append(arguments)
        return True


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def lines() -> list[str]:
    return []


def test_running_workloads_are_not_waited_for(cluster: Cluster, lines: list[str]) -> None:
    time = Time()

    rollout.wait(cluster, 60, lines.append, time.clock())

    assert time.seconds == 0
    assert [line.rpartition(": ")[2] for line in lines] == ["1 of 1 ready"] * len(rollout.WORKLOADS)


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"observedGeneration": 2, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1},
        {"observedGeneration": 3, "replicas": 1, "readyReplicas": 1},
        {"observedGeneration": 3, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 1},
    ],
    ids=["new", "change not seen", "only the old pod is ready", "the old pod is still there"],
)
def test_pods_of_an_earlier_version_do_not_count(cluster: Cluster, lines: list[str], status: Json) -> None:
    time = Time()
    cluster.statuses["redis"] = status
    time.scheduled[7] = cluster.statuses.clear

    rollout.wait(cluster, 60, lines.append, time.clock())

    assert time.seconds == 7


@pytest.mark.parametrize(
    ("status", "seconds"),
    [
        ({"observedGeneration": 3, "desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 2}, 0),
        ({"observedGeneration": 3, "desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 1}, 7),
        ({"observedGeneration": 3, "desiredNumberScheduled": 2, "numberReady": 1, "updatedNumberScheduled": 2}, 7),
        ({"observedGeneration": 2, "desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 2}, 7),
    ],
    ids=["all run", "one is of an earlier template", "one is not ready", "change not seen"],
)
def test_a_daemon_set_is_waited_for_on_every_node(
    cluster: Cluster, lines: list[str], status: Json, seconds: float
) -> None:
    time = Time()
    cluster.statuses["otelcol"] = status

    def run() -> None:
        whole = {"desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 2}
        cluster.statuses["otelcol"] = {"observedGeneration": 3, **whole}

    time.scheduled[7] = run

    rollout.wait(cluster, 60, lines.append, time.clock(), overlay="local")

    assert time.seconds == seconds
    assert lines[-1].endswith("iris-logs/otelcol: 2 of 2 ready")


def test_production_waits_for_no_log_store(cluster: Cluster, lines: list[str]) -> None:
    rollout.wait(cluster, 60, lines.append, Time().clock(), overlay="production")
    assert not [line for line in lines if "iris-logs" in line]


def test_each_state_is_reported_once_with_the_problems_of_its_pods(cluster: Cluster, lines: list[str]) -> None:
    time = Time()
    cluster.statuses["iris-operator"] = {"observedGeneration": 3, "replicas": 1, "updatedReplicas": 1}
    waiting = {"reason": "ImagePullBackOff", "message": "back-off pulling image"}
    cluster.pods["iris-operator"] = {"containerStatuses": [{"state": {"waiting": waiting}}]}
    time.scheduled[5] = cluster.statuses.clear

    rollout.wait(cluster, 60, lines.append, time.clock())

    assert [line for line in lines if "iris-operator" in line] == [
        "    0 s  iris-system/iris-operator: 0 of 1 ready; ImagePullBackOff: back-off pulling image",
        "    5 s  iris-system/iris-operator: 1 of 1 ready",
    ]


def test_an_unschedulable_pod_is_reported_with_the_reason(cluster: Cluster, lines: list[str]) -> None:
    cluster.statuses["postgres"] = {"observedGeneration": 3, "replicas": 1, "updatedReplicas": 1}
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: Insufficient cpu."}
    cluster.pods["postgres"] = {"conditions": [unscheduled]}

    with pytest.raises(InstallError, match="Not available after 10 s: iris/postgres; see above"):
        rollout.wait(cluster, 10, lines.append, Time().clock())

    assert "no node for it: 0/1 nodes are available: Insufficient cpu." in lines[0]
    assert [arguments[0] for arguments in cluster.shown] == ["get", "get", "logs"]


def test_a_short_outage_of_the_api_server_is_tolerated(cluster: Cluster, lines: list[str]) -> None:
    time = Time()
    cluster.statuses["redis"] = {}

    def go_down() -> None:
        cluster.unreachable = True

    def come_back() -> None:
        cluster.unreachable = False
        cluster.statuses.clear()

    time.scheduled = {3: go_down, 30: come_back}

    rollout.wait(cluster, 60, lines.append, time.clock())

    assert time.seconds == 30


def test_an_api_server_that_is_gone_ends_the_wait_early(cluster: Cluster, lines: list[str]) -> None:
    time = Time()
    cluster.statuses["redis"] = {}

    def go_down() -> None:
        cluster.unreachable = True

    time.scheduled = {3: go_down}

    with pytest.raises(InstallError, match="connection refused"):
        rollout.wait(cluster, 600, lines.append, time.clock())

    assert time.seconds < 40
