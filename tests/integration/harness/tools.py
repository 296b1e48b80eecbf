"""Where the programs that the tests start come from. A missing one fails the test: a skipped test proves nothing."""

import os
import shutil
from pathlib import Path

import pytest

_DEBIAN_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/usr/lib/postgresql/15/bin")


def debian(program: str) -> str:
    """The path of a program that comes from one of the packages in tests/packages.txt."""
    found = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), *_DEBIAN_FOLDERS]))
    if found is None:
        pytest.fail(f"{program} is not installed. Run: make packages", pytrace=False)
    return found


def component(program: str) -> str:
    """The path of a program that the local cluster's build made."""
    root = Path(
        os.environ.get("IRIS_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "iris-release"
    )
    built = sorted((root / "components").glob(f"**/{program}"), key=lambda path: path.lstat().st_mtime)
    if not built:
        pytest.fail(
            f"{program} is not built. Run: PYTHONPATH=deploy/local python3 -m iris_local build kubernetes prometheus",
            pytrace=False,
        )
    return str(built[-1])
