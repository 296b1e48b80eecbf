"""Servers under measurement: started, asked, judged, and ended however the benchmark ends."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.inference.baselines.bare import ANSWER
from bench.inference.environments import DEVELOPMENT
from bench.inference.estimators import LOGISTIC
from bench.inference.expected import ExpectedLabels
from bench.inference.forms import json_instances
from bench.inference.server import LaunchCommand, Sandbox, ServerSpec
from bench.inference.servers import SERVERS
from bench.inference.serving import RunningServer, ServingError, run_server
from support.servers.process import free_port

SETOSA = (5.1, 3.5, 1.4, 0.2)
VIRGINICA = (6.3, 3.3, 6.0, 2.5)
BARE = SERVERS["bare"]
SOON_SECONDS = 20


def place(folder: Path) -> Sandbox:
    return Sandbox((free_port(), free_port(), free_port()), folder / "server", folder / "models")


@contextmanager
def bare(folder: Path, spec: ServerSpec = BARE) -> Iterator[RunningServer]:
    with run_server(spec, place(folder), {}, {}) as server:
        server.wait_until_ready(SETOSA)
        yield server


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def awaited(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SOON_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_server_runs_on_its_core_and_ends_with_the_block(tmp_path: Path) -> None:
    with bare(tmp_path) as server:
        assert os.sched_getaffinity(server.process.pid) == {0}
        assert server.predict([SETOSA]) == ANSWER
    assert gone(server.process.pid)


def test_unexpected_labels_are_an_error(tmp_path: Path) -> None:
    # The bare application says setosa, whatever it is asked.
    with bare(tmp_path, replace(BARE, model=LOGISTIC)) as server:
        ExpectedLabels().check(server, [SETOSA])
        with pytest.raises(ServingError, match=r"bare predicted \[0, 0\], expected \[0, 2\]"):
            ExpectedLabels().check(server, [SETOSA, VIRGINICA])


def test_a_server_that_ends_early_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    def start(_place: Sandbox) -> LaunchCommand:
        return LaunchCommand([sys.executable, "-c", "raise SystemExit('no model here')"], {})

    broken = ServerSpec("broken", DEVELOPMENT, None, start, json_instances("/predict"))
    with run_server(broken, place(tmp_path), {}, {}) as server, pytest.raises(ServingError, match="no model here"):
        server.wait_until_ready(SETOSA)


def test_a_killed_benchmark_leaves_no_server_behind(tmp_path: Path) -> None:
    program = """
import json, sys
from pathlib import Path
from integration.bench.test_serving import bare
with bare(Path(sys.argv[1])) as server:
    print(json.dumps(server.process.pid), flush=True)
    input()
"""
    roots = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": roots}
    ) as benchmark:
        assert benchmark.stdout is not None
        pid = json.loads(benchmark.stdout.readline())
        assert not gone(pid)
        benchmark.kill()
    assert awaited(lambda: gone(pid))
