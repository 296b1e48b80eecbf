import json
from collections.abc import Callable
from typing import Any

import pytest

from iris_install import rollout
from iris_install.errors import InstallError

Json = dict[str, Any]


class Time:
    """A clock that only sleeping moves; what is planned for a moment happens when it is reached."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.plan: dict[float, Callable[[], None]] = {}

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        if due := self.plan.pop(self.seconds, None):
            due()

    def clock(self) -> rollout.Clock:
        return rollout.Clock(now=lambda: self.seconds, sleep=self.sleep)


class Cluster:
    """Answers as kubectl does for workloads that all run, until a test says otherwise."""

    def __init__(self) -> None:
        self.statuses: dict[str, Json] = {}
        self.pods: dict[str, Json] = {}
        self.silent = False
        self.shown: list[tuple[str, ...]] = []

    def text(self, *arguments: str) -> str:
        if self.silent:
            raise InstallError("connection refused")
        if arguments[0] == "wait":
            return ""
        if arguments[1] == "pods":
            name = next(part for part in arguments if part.startswith("--selector")).rpartition("=")[2]
            return json.dumps({"items": [{"status": self.pods.get(name, {})}]})
        ready = {"observedGeneration": 3, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}
        status = self.statuses.get(arguments[2], ready)
        return json.dumps({"metadata": {"generation": 3}, "spec": {"replicas": 1}, "status": status})

    def show(self, *arguments: str) -> bool:
        self.shown.append(arguments)
        return True


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def said() -> list[str]:
    return []


def test_what_runs_already_is_not_waited_for(cluster: Cluster, said: list[str]) -> None:
    time = Time()

    rollout.wait(cluster, 60, said.append, time.clock())

    assert time.seconds == 0
    assert [line.rpartition(": ")[2] for line in said] == ["1 of 1 ready"] * len(rollout.WORKLOADS)


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
def test_pods_of_an_earlier_version_do_not_count(cluster: Cluster, said: list[str], status: Json) -> None:
    time = Time()
    cluster.statuses["redis"] = status
    time.plan[7] = cluster.statuses.clear

    rollout.wait(cluster, 60, said.append, time.clock())

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
def test_what_runs_on_every_node_is_waited_for_on_every_node(
    cluster: Cluster, said: list[str], status: Json, seconds: float
) -> None:
    time = Time()
    cluster.statuses["otelcol"] = status

    def run() -> None:
        whole = {"desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 2}
        cluster.statuses["otelcol"] = {"observedGeneration": 3, **whole}

    time.plan[7] = run

    rollout.wait(cluster, 60, said.append, time.clock(), overlay="local")

    assert time.seconds == seconds
    assert said[-1].endswith("iris-logs/otelcol: 2 of 2 ready")


def test_production_waits_for_no_log_store(cluster: Cluster, said: list[str]) -> None:
    rollout.wait(cluster, 60, said.append, Time().clock(), overlay="production")
    assert not [line for line in said if "iris-logs" in line]


def test_each_state_is_said_once_with_what_stands_in_the_way(cluster: Cluster, said: list[str]) -> None:
    time = Time()
    cluster.statuses["iris-operator"] = {"observedGeneration": 3, "replicas": 1, "updatedReplicas": 1}
    waiting = {"reason": "ImagePullBackOff", "message": "back-off pulling image"}
    cluster.pods["iris-operator"] = {"containerStatuses": [{"state": {"waiting": waiting}}]}
    time.plan[5] = cluster.statuses.clear

    rollout.wait(cluster, 60, said.append, time.clock())

    assert [line for line in said if "iris-operator" in line] == [
        "    0 s  iris-system/iris-operator: 0 of 1 ready; ImagePullBackOff: back-off pulling image",
        "    5 s  iris-system/iris-operator: 1 of 1 ready",
    ]


def test_a_pod_without_a_node_says_why(cluster: Cluster, said: list[str]) -> None:
    cluster.statuses["postgres"] = {"observedGeneration": 3, "replicas": 1, "updatedReplicas": 1}
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: Insufficient cpu."}
    cluster.pods["postgres"] = {"conditions": [unscheduled]}

    with pytest.raises(InstallError, match="Not available after 10 s: iris/postgres; see above"):
        rollout.wait(cluster, 10, said.append, Time().clock())

    assert "no node for it: 0/1 nodes are available: Insufficient cpu." in said[0]
    assert [arguments[0] for arguments in cluster.shown] == ["get", "get", "logs"]


def test_a_short_silence_of_the_api_server_is_waited_out(cluster: Cluster, said: list[str]) -> None:
    time = Time()
    cluster.statuses["redis"] = {}

    def fall_silent() -> None:
        cluster.silent = True

    def come_back() -> None:
        cluster.silent = False
        cluster.statuses.clear()

    time.plan = {3: fall_silent, 30: come_back}

    rollout.wait(cluster, 60, said.append, time.clock())

    assert time.seconds == 30


def test_an_api_server_that_is_gone_ends_the_wait_early(cluster: Cluster, said: list[str]) -> None:
    time = Time()
    cluster.statuses["redis"] = {}

    def fall_silent() -> None:
        cluster.silent = True

    time.plan = {3: fall_silent}

    with pytest.raises(InstallError, match="connection refused"):
        rollout.wait(cluster, 600, said.append, time.clock())

    assert time.seconds < 40
