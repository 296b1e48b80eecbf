import subprocess
from pathlib import Path

import pytest

from support.servers.tools import component

WORKFLOWS = Path(__file__).resolve().parents[3] / ".github/workflows"


def actionlint(*files: Path) -> subprocess.CompletedProcess[str]:
    # Without the checkers of shells and Python that a machine may have or not: our commands are make targets.
    command = [component("actionlint"), "-shellcheck=", "-pyflakes=", "-no-color", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_workflows_are_valid() -> None:
    judged = actionlint(*sorted(WORKFLOWS.glob("*.yaml")))
    assert judged.returncode == 0, judged.stdout


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("runs-on: ubuntu-24.04", "runs-on: ubuntu-1.04", "unknown"),
        ("needs.images.outputs.image", "needs.images.outputs.picture", "not defined"),
        ("cancel-in-progress", "cancel", "unexpected key"),
    ],
)
def test_a_mistake_in_a_workflow_is_found(right: str, wrong: str, complaint: str, tmp_path: Path) -> None:
    folder = tmp_path / ".github/workflows"
    folder.mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    for file in WORKFLOWS.glob("*.yaml"):
        (folder / file.name).write_text(file.read_text())
    deploy = folder / "deploy.yaml"
    assert right in deploy.read_text()
    deploy.write_text(deploy.read_text().replace(right, wrong))
    judged = actionlint(deploy)
    assert judged.returncode == 1
    assert complaint in judged.stdout
