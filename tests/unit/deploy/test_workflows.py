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


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_actions_are_pinned_by_commit(workflow: dict[str, Any]) -> None:
    loose = [
        step["uses"] for step in steps(workflow) if "uses" in step and not re.search("@[0-9a-f]{40}$", step["uses"])
    ]
    assert loose == []


def test_the_token_may_only_read_unless_a_job_says_otherwise(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}


def test_every_job_ends_by_itself(workflow: dict[str, Any]) -> None:
    assert [name for name, job in workflow["jobs"].items() if "timeout-minutes" not in job] == []


def test_commands_are_make_targets_that_exist(workflow: dict[str, Any]) -> None:
    wanted = {word for step in steps(workflow) if "run" in step for word in step["run"].split()}
    assert wanted <= {"make", *targets()}


def test_help_names_every_target() -> None:
    described = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert [target for target in targets() if f"  {target} " not in described] == []


def targets() -> set[str]:
    phony = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return {target for line in phony for target in line.split()}
