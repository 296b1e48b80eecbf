import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request: pytest.FixtureRequest) -> dict[str, Any]:
    # BaseLoader: to every other one the key `on` is a boolean.
    loaded: dict[str, Any] = yaml.load(request.param.read_text(), yaml.BaseLoader)  # noqa: S506 - it makes strings only
    return loaded


# What a job may do beyond reading the code, and nobody else may.
PUBLISHING = {"packages": "write", "id-token": "write", "attestations": "write"}
GRANTED = {("images", "publish"): PUBLISHING, ("deploy", "images"): PUBLISHING}


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job.get("steps", [])]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_and_say_which_version_that_is(path: Path) -> None:
    used = re.findall(r"^.*\buses:\s*(.*)$", path.read_text(), re.MULTILINE)
    foreign = [line for line in used if not line.startswith("./")]
    assert [line for line in foreign if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []
    assert used


def test_an_action_is_pinned_to_one_commit_everywhere() -> None:
    pins = {
        match
        for path in WORKFLOWS
        for match in re.findall(r"uses: ([\w.-]+/[\w./-]+)@([0-9a-f]{40})", path.read_text())
    }
    assert len(pins) == len({action for action, _ in pins})


def test_the_token_is_read_only_unless_a_job_needs_more(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        more = {right: level for right, level in job.get("permissions", {}).items() if right != "contents"}
        assert more == GRANTED.get((workflow["name"], name), {}), name
        assert job.get("permissions", {}).get("contents", "read") == "read"


def test_every_job_has_a_timeout(workflow: dict[str, Any]) -> None:
    own = {name: job for name, job in workflow["jobs"].items() if "uses" not in job}
    assert [name for name, job in own.items() if "timeout-minutes" not in job] == []


def test_runs_of_a_workflow_are_not_concurrent(workflow: dict[str, Any]) -> None:
    assert workflow["concurrency"]["group"]
    # A deployment that is stopped halfway leaves nobody to tell how it ended.
    assert workflow["name"] == "test" or workflow["concurrency"]["cancel-in-progress"] == "false"


def test_no_expression_is_interpolated_into_a_command(workflow: dict[str, Any]) -> None:
    assert [step["run"] for step in steps(workflow) if "${{" in step.get("run", "")] == []


def test_the_checkouts_token_is_not_persisted(workflow: dict[str, Any]) -> None:
    checkouts = [step for step in steps(workflow) if step.get("uses", "").startswith("actions/checkout@")]
    assert [step for step in checkouts if step.get("with", {}).get("persist-credentials") != "false"] == []


def test_the_deployed_image_was_tested_and_is_referenced_by_digest() -> None:
    images, deploy = (
        yaml.safe_load((ROOT / f".github/workflows/{name}.yaml").read_text()) for name in ("images", "deploy")
    )
    assert images["jobs"]["test"]["uses"] == "./.github/workflows/test.yaml"
    assert images["jobs"]["publish"]["needs"] == "test"
    assert deploy["jobs"]["deploy"]["needs"] == "images"
    assert "outputs.image" in deploy["jobs"]["deploy"]["steps"][2]["env"]["IMAGE"]


def test_commands_are_make_targets_that_exist(workflow: dict[str, Any]) -> None:
    wanted = {word for step in steps(workflow) if "run" in step for word in step["run"].split()}
    assert wanted <= {"make", *targets()}


def test_help_names_every_target() -> None:
    described = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert [target for target in targets() if f"  {target} " not in described] == []


def targets() -> set[str]:
    phony = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return {target for line in phony for target in line.split()}
