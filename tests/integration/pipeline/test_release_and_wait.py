"""What the deploy workflow runs, with the rights that it is given, against a real API server.

The test is the operator.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iris_demo.scenario import LOUD
from support.servers.kubernetes import KubeApiserver
from support.servers.tools import component

ROOT = Path(__file__).resolve().parents[3]
NAMESPACE, NAME = "iris", "iris"
IMAGE = f"registry.example.com/iris-inference@sha256:{'d' * 64}"
RELEASES = f"/apis/iris.mlrelease.dev/v1alpha1/namespaces/{NAMESPACE}/irismodelreleases"
Status = dict[str, Any]
# To start a Python with a Kubernetes client takes its time on a machine that has much else to do.
PATIENCE = 120.0


@pytest.fixture(scope="module")
def cluster(kube_apiserver: KubeApiserver) -> KubeApiserver:
    kube_apiserver.install_resource()
    kube_apiserver.create_namespace(NAMESPACE)
    kubectl(kube_apiserver, "apply", "--server-side", "-k", str(ROOT / "deploy/pipeline"))
    kube_apiserver.request("POST", RELEASES, LOUD.manifest("1.0.0"))
    return kube_apiserver


@pytest.fixture(scope="module")
def rights(cluster: KubeApiserver) -> Path:
    """The kubeconfig of the account that the workflow has."""
    return cluster.kubeconfig_for(NAMESPACE, "iris-pipeline")


def kubectl(cluster: KubeApiserver, *arguments: str) -> str:
    command = [component("kubectl"), f"--kubeconfig={cluster.kubeconfig}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def operate(cluster: KubeApiserver, change: Callable[[int], Status]) -> None:
    """Writes the status that an operator would, about the spec as it is now."""
    generation = cluster.request("GET", f"{RELEASES}/{NAME}")["metadata"]["generation"]
    status = json.dumps({"status": {"observedGeneration": generation} | change(generation)})
    kubectl(
        cluster,
        "patch",
        "imr",
        NAME,
        f"--namespace={NAMESPACE}",
        "--subresource=status",
        "--type=merge",
        f"-p={status}",
    )


def promoted(version: str, image: str) -> Status:
    return {
        "phase": "Stable",
        "weight": 0,
        "stable": {"revision": "aaaaaaaaaa", "version": version, "image": image},
        "conditions": [condition("True", "Promoted", f"version {version} serves all traffic")],
        "history": [],
    }


def rolled_back(version: str, reason: str) -> Status:
    return {
        "phase": "RolledBack",
        "weight": 0,
        "conditions": [condition("False", "RolledBack", reason)],
        "history": [
            {
                "revision": "bbbbbbbbbb",
                "version": version,
                "image": IMAGE,
                "outcome": "RolledBack",
                "reason": reason,
                "startedAt": "2026-01-01T00:00:00Z",
                "finishedAt": "2026-01-01T00:01:00Z",
            }
        ],
    }


def condition(status: str, reason: str, message: str) -> dict[str, str]:
    moment = "2026-01-01T00:00:00Z"
    return {
        "type": "Promoted",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": moment,
    }


class Workflow:
    """The two steps of the workflow as processes."""

    def __init__(self, rights: Path, page: Path) -> None:
        self.page = page
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")},
            "PYTHONPATH": ":".join(path for path in sys.path if path),
            # As a secret of the workflow comes: its text, and not a file.
            "IRIS_KUBECONFIG": rights.read_text(),
            "KUBECONFIG": "/nonexistent",
        }

    def release(self, version: str, image: str = IMAGE) -> subprocess.CompletedProcess[str]:
        return self._finished(self._start("release", f"--version={version}", f"--image={image}"))

    def wait(self, seconds: float = PATIENCE) -> subprocess.Popen[str]:
        return self._start("wait", f"--summary={self.page}", f"--timeout={seconds}")

    def ended(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        done = self._finished(process)
        return done.returncode, done.stdout

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "iris_pipeline", *arguments]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self._environment
        )

    def _finished(self, process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, output)


@pytest.fixture
def workflow(rights: Path, tmp_path: Path) -> Workflow:
    return Workflow(rights, tmp_path / "summary.md")


def test_a_promoted_release_succeeds(cluster: KubeApiserver, workflow: Workflow) -> None:
    asked = workflow.release("2.0.0")
    assert asked.returncode == 0, asked.stdout
    spec = cluster.request("GET", f"{RELEASES}/{NAME}")["spec"]
    assert spec["model"] == {"name": "iris", "version": "2.0.0", "image": IMAGE}
    assert spec["serving"]["replicas"] == LOUD.manifest("1.0.0")["spec"]["serving"]["replicas"]

    waiting = workflow.wait()
    operate(
        cluster,
        lambda _: {"phase": "Progressing", "weight": 10, "conditions": [condition("False", "Progressing", "10 %")]},
    )
    operate(cluster, lambda _: promoted("2.0.0", IMAGE))
    code, said = workflow.ended(waiting)

    assert code == 0, said
    assert said.splitlines()[-1] == "iris 2.0.0 Promoted: version 2.0.0 serves all traffic"
    assert workflow.page.read_text().startswith("### ✅ iris 2.0.0: Promoted")


def test_a_release_that_is_rolled_back_fails_with_the_reason_on_the_page(
    cluster: KubeApiserver, workflow: Workflow
) -> None:
    workflow.release("3.0.0")
    waiting = workflow.wait()
    reason = "ErrorRate: version 3.0.0: 36/36 of the canary's requests failed, 0/599 of stable's: the canary is worse"
    operate(cluster, lambda _: rolled_back("3.0.0", reason))
    code, said = workflow.ended(waiting)

    assert code == 1, said
    assert said.splitlines()[-1] == f"iris 3.0.0 RolledBack: {reason}"
    assert workflow.page.read_text().startswith(f"### ❌ iris 3.0.0: RolledBack\n\n{reason}\n")


def test_an_undecided_release_fails_after_the_timeout(cluster: KubeApiserver, workflow: Workflow) -> None:
    workflow.release("4.0.0")
    held = condition("False", "Paused", "held: spec.paused is true")
    operate(cluster, lambda _: {"phase": "Paused", "weight": 10, "conditions": [held]})
    code, said = workflow.ended(workflow.wait(seconds=2))
    assert code == 1, said
    assert "Undecided: not decided after 2 s; last seen: Paused, 10 % of the traffic: held" in said


def test_a_superseded_release_fails(cluster: KubeApiserver, workflow: Workflow) -> None:
    workflow.release("2.0.0")
    waiting = workflow.wait()
    # The wait is told what it waits for by the resource, so it has to have looked first.
    assert waiting.stdout is not None
    operate(cluster, lambda _: {"phase": "Progressing", "weight": 10, "conditions": []})
    first = waiting.stdout.readline()
    assert "Progressing" in first
    workflow.release("5.0.0")
    code, said = workflow.ended(waiting)
    assert code == 1, said
    assert "Superseded: version 5.0.0 (" in said
    assert "was requested meanwhile" in said


def test_the_account_of_the_workflow_can_do_nothing_else(cluster: KubeApiserver, rights: Path) -> None:
    def allowed(verb: str, what: str, *more: str) -> bool:
        command = [component("kubectl"), f"--kubeconfig={rights}", "auth", "can-i", verb, what, *more]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "yes"

    mine = f"--namespace={NAMESPACE}"
    assert all(allowed(verb, "irismodelreleases", mine) for verb in ("get", "list", "watch", "patch"))
    for verb, what in (
        ("delete", "irismodelreleases"),
        ("create", "irismodelreleases"),
        ("get", "secrets"),
        ("create", "pods"),
        ("patch", "deployments"),
    ):
        assert not allowed(verb, what, mine), f"{verb} {what}"
    assert not allowed("patch", "irismodelreleases", "--subresource=status", mine)
    assert not allowed("patch", "irismodelreleases", "--namespace=default")
    assert cluster.request("GET", f"{RELEASES}/{NAME}")
