"""The control groups of the cluster's pods. All pods are below one group, so that they can be found and killed."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from iris_local.errors import LocalClusterError
from iris_local.processes import kill, started_at

_CONTROLLERS = ("cpu", "cpuset", "memory", "pids", "io", "hugetlb")


def create(name: str) -> None:
    """Creates the group in every hierarchy, as the kubelet requires."""
    for hierarchy in _hierarchies():
        # In the unified hierarchy a group has the controllers that its parent enables.
        switch = hierarchy / "cgroup.subtree_control"
        if switch.exists():
            for controller in _CONTROLLERS:
                with contextlib.suppress(OSError):  # the kernel lacks it, or another hierarchy has it
                    switch.write_text(f"+{controller}")
        (hierarchy / name).mkdir(exist_ok=True)


def remove(name: str, timeout: float = 20.0) -> None:
    """Kills every process in the group and removes it.

    Raises:
        LocalClusterError: a process in it does not die within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while found := processes(name):
        if time.monotonic() > deadline:
            raise LocalClusterError(f"These processes of pods do not die: {sorted(found)}")
        kill(found)
        time.sleep(0.05)
    for group in _groups(name):
        _remove_tree(group, deadline)


def processes(name: str) -> dict[int, int]:
    """Pid and start time of every process in the group."""
    found = {}
    for group in _groups(name):
        for folder in _tree(group):
            with contextlib.suppress(OSError):  # a group that was just removed
                for pid in map(int, (folder / "cgroup.procs").read_text().split()):
                    if (started := started_at(pid)) is not None:
                        found[pid] = started
    return found


def hierarchies_of(mountinfo: str) -> list[Path]:
    """The mount points of control group hierarchies in the text of /proc/self/mountinfo.

    They are recognised by the filesystem type, the first word after the separating hyphen.
    """
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] in ("cgroup", "cgroup2"):
            found.append(Path(before.split()[4]))
    return found


def _hierarchies() -> list[Path]:
    return hierarchies_of(Path("/proc/self/mountinfo").read_text())


def _groups(name: str) -> Iterator[Path]:
    return (hierarchy / name for hierarchy in _hierarchies() if (hierarchy / name).exists())


def _tree(group: Path) -> list[Path]:
    """A group and all below it, parents first. os.walk ignores groups that vanish during the walk."""
    return [Path(folder) for folder, _, _ in os.walk(group)]


def _remove_tree(group: Path, deadline: float) -> None:
    """Removes a group with those below it. The kernel may need a moment after the last process has ended."""
    for folder in reversed(_tree(group)):
        while folder.exists():
            try:
                folder.rmdir()
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
