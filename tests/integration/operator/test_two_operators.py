"""Two real processes of the operator on a real API server: killed, ended, and suspended while they lead."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.operator.controllers import Kubectl
from support.operator.installation import Installation, OperatorPod
from support.operator.process import operator_process
from support.operator.simulation import manifest
from support.servers.kubernetes import KubeApiserver
from support.servers.process import ServerProcess, free_port
from support.waiting import eventually

KILL_SECONDS = 15.0
GRACEFUL_SECONDS = 2.0


class Operator:
    """A process in a pod of its own."""

    def __init__(self, installation: Installation, pod: OperatorPod, folder: Path, prometheus_url: str) -> None:
        folder.mkdir()
        self.pod = pod
        self.log = folder / "operator.log"
        self._port = free_port()
        settings = {**pod.settings(installation.namespace), "IRIS_HEALTH_PORT": str(self._port)}
        self.process: ServerProcess = operator_process(
            pod.kubeconfig, installation.namespace, folder, prometheus_url, **settings
        )

    def probe(self, path: str) -> int:
        """The status that the kubelet would see; 0 without an answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/{path}", timeout=2) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def ready(self) -> bool:
        return self.probe("readyz") == 200

    def start(self) -> None:
        """Returns when it leads, or is ready to."""
        self.process.start()
        eventually(self.ready, seconds=30)


@pytest.fixture(scope="module")
def installation(kube_apiserver: KubeApiserver, kubectl: Kubectl) -> Installation:
    return Installation(kube_apiserver, kubectl)


@pytest.fixture(scope="module")
def pods(installation: Installation) -> tuple[OperatorPod, OperatorPod]:
    return installation.pod("operator-a"), installation.pod("operator-b")


@pytest.fixture
def operators(
    installation: Installation, pods: tuple[OperatorPod, OperatorPod], tmp_path: Path, prometheus_url: str
) -> Iterator[tuple[Operator, Operator]]:
    """The leader and a standby."""
    first, second = (Operator(installation, pod, tmp_path / pod.name, prometheus_url) for pod in pods)
    try:
        first.start()
        eventually(lambda: installation.holder() == first.pod.name, seconds=30)
        second.start()
        yield first, second
    finally:
        for each in (first, second):
            each.process.kill()
        installation.release_lease()


def took_over(installation: Installation, operator: Operator, within: float) -> float:
    """Seconds until the operator holds the Lease."""
    began = time.monotonic()
    eventually(lambda: installation.holder() == operator.pod.name, seconds=within)
    return time.monotonic() - began


def reconciles(kubectl: Kubectl, name: str) -> None:
    """Somebody answers a new release; its finalizer is there, too."""
    body = manifest("1.0.0")
    body["metadata"] = {"name": name, "namespace": kubectl.namespace}
    kubectl.apply(body)
    kubectl.run("wait", "--for=jsonpath={.status.phase}=Initializing", f"imr/{name}", "--timeout=10s")
    kubectl.run("wait", "--for=jsonpath={.metadata.finalizers}", f"imr/{name}", "--timeout=10s")


def writes_of(installation: Installation, pod: OperatorPod) -> list[tuple[str, str, int]]:
    """Verb, resource and status of what the pod has asked the API server to change so far, but its Lease."""
    found = []
    for line in (installation.kubectl.kubeconfig.parent / "audit.log").read_text().splitlines():
        entry = json.loads(line)
        names = entry["user"].get("extra", {}).get("authentication.kubernetes.io/pod-name", [])
        resource = entry.get("objectRef", {}).get("resource", "")
        if names == [pod.name] and entry["verb"] not in ("get", "list", "watch") and resource != "leases":
            found.append((entry["verb"], resource, entry.get("responseStatus", {}).get("code", 0)))
    return found


def test_the_standby_takes_over_from_one_that_was_killed(
    installation: Installation, kubectl: Kubectl, operators: tuple[Operator, Operator]
) -> None:
    leader, standby = operators
    reconciles(kubectl, "before")
    assert all(resource == "irismodelreleases" for _, resource, _ in writes_of(installation, standby.pod))
    assert standby.probe("healthz") == 200
    leader.process.kill()
    assert took_over(installation, standby, KILL_SECONDS) < KILL_SECONDS
    reconciles(kubectl, "after-a-kill")
    assert standby.ready()


def test_the_standby_takes_over_at_once_from_one_that_ends_and_deletions_go_on(
    installation: Installation, kubectl: Kubectl, operators: tuple[Operator, Operator]
) -> None:
    leader, standby = operators
    reconciles(kubectl, "deleted")
    os.kill(leader.process.pid, signal.SIGTERM)
    assert took_over(installation, standby, GRACEFUL_SECONDS) < GRACEFUL_SECONDS
    assert leader.process.wait(15) == 0
    reconciles(kubectl, "after-an-end")
    kubectl.run("delete", "imr", "deleted", "--timeout=20s")


def test_one_that_was_suspended_writes_nothing_when_it_goes_on(
    installation: Installation, kubectl: Kubectl, operators: tuple[Operator, Operator]
) -> None:
    leader, standby = operators
    reconciles(kubectl, "suspended")
    with leader.process.frozen():
        took_over(installation, standby, KILL_SECONDS)
        kubectl.run("annotate", "imr", "suspended", "iris.mlrelease.dev/retry=now", "--overwrite")
        reconciles(kubectl, "while-suspended")
        before = writes_of(installation, leader.pod)
    eventually(lambda: "leads no longer" in leader.log.read_text(), seconds=20)
    eventually(leader.ready, seconds=20)
    reconciles(kubectl, "after-it-went-on")
    late = writes_of(installation, leader.pod)[len(before) :]
    assert [write for write in late if write[1] != "irismodelreleases" and write[2] < 300] == []
    assert installation.holder() == standby.pod.name


def test_a_standby_takes_no_finalizer_away_and_is_done_when_the_leader_has(
    installation: Installation, kubectl: Kubectl, operators: tuple[Operator, Operator]
) -> None:
    leader, standby = operators
    reconciles(kubectl, "finalized")
    kubectl.run("delete", "imr", "finalized", "--timeout=30s")
    assert [write for write in writes_of(installation, standby.pod) if write[0] == "delete"] == []
    assert "Traceback" not in standby.log.read_text()
    assert "Traceback" not in leader.log.read_text()
