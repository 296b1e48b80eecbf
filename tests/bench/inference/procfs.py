"""Reads the kernel's counters: CPU usage of a core, and memory of a process tree."""

import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_KIBIBYTE: Final = 1_024
_IDLE, _IOWAIT, _STEAL = 3, 4, 7


@dataclass(frozen=True, slots=True)
class Ticks:
    """A core's time since it was started, in ticks."""

    busy: int
    stolen: int
    total: int


def ticks(cpu: int, text: str | None = None) -> Ticks:
    """Read a core's counters. What a hypervisor gave to others counts as stolen, not as busy."""
    for line in (_PROC.joinpath("stat").read_text() if text is None else text).splitlines():
        name, *columns = line.split()
        if name == f"cpu{cpu}":
            # The last two columns, time of guests, are in the first two as well.
            numbers = [int(column) for column in columns[:8]]
            idle = numbers[_IDLE] + numbers[_IOWAIT]
            return Ticks(sum(numbers) - idle - numbers[_STEAL], numbers[_STEAL], sum(numbers))
    raise ValueError(f"there is no core {cpu}")


@dataclass(frozen=True, slots=True)
class Usage:
    """How a core spent the time between two readings, in shares of 1."""

    busy: float
    stolen: float


def usage(before: Ticks, after: Ticks) -> Usage:
    """The usage between two readings."""
    total = max(after.total - before.total, 1)
    return Usage((after.busy - before.busy) / total, (after.stolen - before.stolen) / total)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes in memory. Pages shared with others count whole in `resident` and by their part in `proportional`."""

    resident: int
    proportional: int


def memory(pid: int) -> Memory:
    """The memory of a process and all of its descendants."""
    family = [pid, *descendants(pid)]
    return Memory(
        sum(_kibibytes(member, "status", "VmRSS:") for member in family) * _KIBIBYTE,
        sum(_kibibytes(member, "smaps_rollup", "Pss:") for member in family) * _KIBIBYTE,
    )


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process and all of its descendants, since each was started."""
    ticks_a_second = os.sysconf("SC_CLK_TCK")
    return sum(sum(_times(member)) for member in (pid, *descendants(pid))) / ticks_a_second


def cpu_seconds_of_ended_children() -> float:
    """CPU seconds of our own children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def descendants(pid: int) -> Sequence[int]:
    """The processes that a program started, and those that they started."""
    children: dict[int, list[int]] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdecimal() and (parent := _parent(folder)) is not None:
            children.setdefault(parent, []).append(int(folder.name))
    found: list[int] = []
    new = [pid]
    while new:
        new = [child for parent in new for child in children.get(parent, ())]
        found += new
    return found


def _parent(folder: Path) -> int | None:
    try:
        return int(_stat(folder)[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _times(pid: int) -> tuple[int, int]:
    columns = _stat(_PROC / str(pid))
    return int(columns[11]), int(columns[12])


def _stat(folder: Path) -> list[str]:
    # The name in parentheses may contain anything, so fields are counted from its end.
    return (folder / "stat").read_text().rpartition(")")[2].split()


def _kibibytes(pid: int, file: str, name: str) -> int:
    for line in (_PROC / str(pid) / file).read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise ValueError(f"/proc/{pid}/{file} has no {name}")
