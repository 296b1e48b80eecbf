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
    cgroups.up(name)
    yield name
    cgroups.down(name)


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
    assert cgroups.members(name) == {sleeper.pid: started_at(sleeper.pid)}
    cgroups.down(name)
    assert sleeper.wait(timeout=5) != 0
    assert _folders(name) == []


def test_another_group_is_left_alone(name: str, sleeper: "subprocess.Popen[bytes]") -> None:
    other = f"{name}-other"
    cgroups.up(other)
    try:
        (_folders(other)[0] / "cgroup.procs").write_text(str(sleeper.pid))
        cgroups.down(name)
        assert sleeper.poll() is None
    finally:
        cgroups.down(other)


def test_a_group_that_is_not_there_is_no_error(name: str) -> None:
    cgroups.down(name)
    cgroups.down(name)


def _folders(name: str) -> list[Path]:
    mounts = cgroups.hierarchies_of(Path("/proc/self/mountinfo").read_text())
    # cpuset of version 1 takes no process before it is told which processors there are.
    return [mount / name for mount in mounts if mount.name != "cpuset" and (mount / name).exists()]
