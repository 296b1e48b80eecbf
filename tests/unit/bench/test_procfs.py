"""What is read of the kernel's counters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.inference.procfs import Ticks, Usage, cpu_seconds, descendants, memory, ticks, usage
from support.waiting import eventually

STAT = """\
cpu  300 20 100 1000 40 2 8 60 5 0
cpu0 100 10 50 700 30 1 4 50 5 0
cpu1 200 10 50 300 10 1 4 10 0 0
intr 12345
"""


def test_idle_waiting_and_stolen_time_is_not_busy() -> None:
    assert ticks(0, STAT) == Ticks(busy=165, stolen=50, total=945)


def test_a_missing_core_is_an_error() -> None:
    with pytest.raises(ValueError, match="no core 7"):
        ticks(7, STAT)


def test_usage_is_the_difference_of_two_readings() -> None:
    assert usage(Ticks(100, 0, 1_000), Ticks(190, 5, 1_100)) == Usage(busy=0.9, stolen=0.05)


def test_memory_counts_children() -> None:
    alone = memory(os.getpid())
    assert 0 < alone.proportional <= alone.resident
    hold = "data = bytearray(64_000_000); print(len(data), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in descendants(os.getpid())
        assert memory(os.getpid()).resident > alone.resident + 64_000_000
        child.kill()


def test_cpu_seconds_are_those_of_the_process_only() -> None:
    work = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        # Until it waits for its input: the way there takes some time, too.
        eventually(lambda: state(child.pid) == "S")
        once = cpu_seconds(child.pid)
        assert 0.25 < once < 1
        sum(range(3_000_000))
        assert cpu_seconds(child.pid) == once
        child.kill()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
