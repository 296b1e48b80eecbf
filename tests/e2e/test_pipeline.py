"""`make pipeline` on the real cluster, without the tests that the run around it has done already."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from iris_demo.kube import KubeClient, Object, connect
from iris_demo.resources import PODS, RELEASES
from iris_local import registry
from support.e2e.releases import release
from support.e2e.scenario import NAMESPACE, delete_and_wait

NAME = "e2e-pipeline"
REFUSAL_SECONDS = 60.0


@dataclass
class Pipeline:
    """The program, with a release of this test's own, whose steps take seconds."""

    folder: Path
    kube: KubeClient

    def run(self, version: str) -> tuple[int, str, str]:
        """One run; its exit code, its output, and what it wrote for the job's page."""
        resource, page = self.folder / "release.yaml", self.folder / "summary.md"
        resource.write_text(yaml.safe_dump(release(NAME, "1.0.0")))
        page.unlink(missing_ok=True)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "iris_pipeline", "run", "--skip-tests", "--skip-cluster"),
                *(f"--version={version}", f"--resource={resource}", f"--summary={page}"),
                f"--sbom-dir={self.folder / 'sbom'}",
            ],
            capture_output=True,
            text=True,
            check=False,
            env=environment(),
        )
        print(done.stdout, done.stderr)  # noqa: T201 - pytest shows it when the test fails
        return done.returncode, done.stdout, page.read_text() if page.exists() else ""

    async def status(self) -> Object:
        """The release's."""
        found = await self.kube.get(RELEASES, NAMESPACE, NAME)
        assert found is not None
        status: Object = found["status"]
        return status


def environment() -> dict[str, str]:
    """This process's, as far as the program needs it: CI's own variables would make it write elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")} | {
        "PYTHONPATH": ":".join(path for path in sys.path if path)
    }


@pytest.fixture
async def pipeline(kube: KubeClient, tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path, kube)


@pytest.fixture(autouse=True, scope="module")
def nothing_left(installed: Path) -> Iterator[None]:
    """The release lives through all tests of this file: each takes it from what serves then."""

    async def remove_all() -> None:
        async with connect(installed) as kube:
            await delete_and_wait(kube, NAME)

    # Loops of its own: those of the tests last no longer than a test.
    asyncio.run(remove_all())
    yield
    asyncio.run(remove_all())


async def test_a_good_model_goes_from_the_code_to_all_of_the_traffic(pipeline: Pipeline) -> None:
    code, said, page = pipeline.run("2.0.0")

    assert code == 0, said
    stable = (await pipeline.status())["stable"]
    assert stable["version"] == "2.0.0"
    assert stable["image"].startswith(f"{registry.ADDRESS}/iris-inference@sha256:")
    assert page.startswith(f"### ✅ {NAME} 2.0.0: Promoted")
    assert stable["image"] in page
    assert ", 0 failed (1.0.0: " in page
    await runs_what_was_pulled(pipeline.kube, stable["image"])
    lists = list((pipeline.folder / "sbom").glob("iris-inference-2.0.0-*.cdx.json"))
    assert len(lists) == 1


async def test_a_pod_without_the_pull_secret_cannot_use_an_image_that_the_node_has(pipeline: Pipeline) -> None:
    image = (await pipeline.status())["stable"]["image"]
    pod = stranger(image)
    await pipeline.kube.create(PODS, pod)
    try:
        refused = await pipeline.kube.wait_for(PODS, NAMESPACE, pod["metadata"]["name"], was_refused, REFUSAL_SECONDS)
    finally:
        await pipeline.kube.delete(PODS, NAMESPACE, pod["metadata"]["name"], grace_seconds=0)
    assert "401 Unauthorized" in waiting(refused)["message"]


async def test_a_bad_model_fails_with_the_reason(pipeline: Pipeline) -> None:
    code, said, page = pipeline.run("3.0.0")

    assert code == 1, said
    status = await pipeline.status()
    assert (status["phase"], status["weight"]) == ("RolledBack", 0)
    assert said.splitlines()[-1].startswith(f"{NAME} 3.0.0 RolledBack: ErrorRate: version 3.0.0: ")
    assert page.startswith(f"### ❌ {NAME} 3.0.0: RolledBack\n\nErrorRate: version 3.0.0: ")


async def test_an_older_version_is_released_without_a_build(pipeline: Pipeline) -> None:
    code, said, _ = pipeline.run("1.0.0")

    assert code == 0, said
    assert (await pipeline.status())["stable"]["version"] == "1.0.0"
    assert "exists already" in said
    assert "build the image" not in said


def stranger(image: str) -> Object:
    """A pod that may run where releases do, and names an image of theirs and no Secret."""
    limits = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": NAMESPACE, "name": f"{NAME}-stranger"},
        "spec": {
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "stranger", "image": image, "securityContext": limits}],
        },
    }


def waiting(pod: Object | None) -> Object:
    """Why its container does not run; empty while nothing is said about that."""
    statuses = (pod or {}).get("status", {}).get("containerStatuses") or [{}]
    reason: Object = statuses[0].get("state", {}).get("waiting", {})
    return reason


def was_refused(pod: Object | None) -> bool:
    return waiting(pod).get("reason") == "ErrImagePull"


async def runs_what_was_pulled(kube: KubeClient, image: str) -> None:
    """Pods name the image by digest, were given the Secret to pull it, and run just that image."""
    digest = image.partition("@")[2]
    pods = await kube.list(PODS, NAMESPACE, labelSelector=f"iris.mlrelease.dev/release={NAME}")
    mine = [pod for pod in pods if pod["spec"]["containers"][0]["image"] == image]
    assert mine
    for pod in mine:
        assert pod["spec"]["imagePullSecrets"] == [{"name": registry.PULL_SECRET}]
        assert pod["status"]["containerStatuses"][0]["imageID"].endswith(digest)
