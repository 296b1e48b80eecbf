import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("part", ["operator", "inference", "tests"])
def test_every_dependency_is_one_version_with_its_hashes(part: str) -> None:
    text = (ROOT / part / "requirements.txt").read_text().replace("\\\n", "")
    requirements = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert requirements
    for requirement in requirements:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==\S+", requirement), requirement
        assert "--hash=sha256:" in requirement, requirement


@pytest.mark.parametrize("file", ["Dockerfile.operator", "Dockerfile.inference"])
def test_an_image_installs_nothing_but_by_hash(file: str) -> None:
    commands = (ROOT / file).read_text().replace("\\\n", "").splitlines()
    installs = [command for command in commands if "pip install" in command]
    assert installs
    for install in installs:
        assert re.search(r"--require-hashes\s+-r /tmp/requirements\.txt", install), install
        assert install.count("pip install") == 1
