import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from iris_local import cgroups
from iris_local.processes import started_at


@pytest.fixture
def name() -> Iterator[str]:
    name = f"iris-test-{os.getpid()}"
    cgroups.create(name)
    yield name
    cgroups.remove(name)


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "300"]) as process:
        yield process
        process.kill()


def test_processes_in_the_group_and_below_it_are_killed_and_the_group_is_removed(
    name: str, sleeper: "subprocess.Popen[bytes]"
) -> None:
    below = _folders(name)[0] / "pod" / "container"
    below.mkdir(parents=True)
    (below / "cgroup.procs").write_text(str(sleeper.pid))
    assert cgroups.processes(name) == {sleeper.pid: started_at(sleeper.pid)}
    cgroups.remove(name)
    assert sleeper.wait(timeout=5) != 0
    assert _folders(name) == []


def test_another_group_is_not_changed(name: str, sleeper: "subprocess.Popen[bytes]") -> None:
    other = f"{name}-other"
    cgroups.create(other)
    try:
        (_folders(other)[0] / "cgroup.procs").write_text(str(sleeper.pid))
        cgroups.remove(name)
        assert sleeper.poll() is None
    finally:
        cgroups.remove(other)


def test_a_missing_group_is_not_an_error(name: str) -> None:
    cgroups.remove(name)
    cgroups.remove(name)


def _folders(name: str) -> list[Path]:
    mounts = cgroups.hierarchies_of(Path("/proc/self/mountinfo").read_text())
    # cpuset of version 1 takes no process before it is told which processors there are.
    return [mount / name for mount in mounts if mount.name != "cpuset" and (mount / name).exists()]
