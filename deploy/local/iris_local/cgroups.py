"""The control groups of the cluster's pods. All pods live below one group, which makes them easy to find and end."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from iris_local.errors import LocalClusterError
from iris_local.processes import kill, started_at

NAME = "iris-local"
_CONTROLLERS = ("cpu", "cpuset", "memory", "pids", "io", "hugetlb")


def up() -> None:
    """Makes the group in every hierarchy: the kubelet wants it to be there."""
    for hierarchy in _hierarchies():
        # In the unified hierarchy a group has the controllers that its parent hands down.
        switch = hierarchy / "cgroup.subtree_control"
        if switch.exists():
            for controller in _CONTROLLERS:
                with contextlib.suppress(OSError):  # the kernel lacks it, or another hierarchy has it
                    switch.write_text(f"+{controller}")
        (hierarchy / NAME).mkdir(exist_ok=True)


def down(patience: float = 20.0) -> None:
    """Kills every process in the group and removes it.

    Raises:
        LocalClusterError: something in it does not die within `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while found := members():
        if time.monotonic() > deadline:
            raise LocalClusterError(f"These processes of pods do not die: {sorted(found)}")
        kill(found)
        time.sleep(0.05)
    for group in _groups():
        _remove(group, deadline)


def members() -> dict[int, int]:
    """Pid and start time of every process in the group."""
    found = {}
    for group in _groups():
        for listing in group.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):  # a group that was just removed
                for pid in map(int, listing.read_text().split()):
                    if (started := started_at(pid)) is not None:
                        found[pid] = started
    return found


def hierarchies_of(mountinfo: str) -> list[Path]:
    """The mount points of control group hierarchies in the text of /proc/self/mountinfo.

    Those below a mount of another hierarchy's tree are not special; what counts is the type, the first word after
    the lone hyphen.
    """
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] in ("cgroup", "cgroup2"):
            found.append(Path(before.split()[4]))
    return found


def _hierarchies() -> list[Path]:
    return hierarchies_of(Path("/proc/self/mountinfo").read_text())


def _groups() -> Iterator[Path]:
    return (hierarchy / NAME for hierarchy in _hierarchies() if (hierarchy / NAME).exists())


def _remove(group: Path, deadline: float) -> None:
    """Removes a group with those below it. The kernel needs a moment after the last process has ended."""
    folders = sorted((path for path in [group, *group.rglob("*")] if path.is_dir()), reverse=True)
    for folder in folders:
        while folder.exists():
            try:
                folder.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
