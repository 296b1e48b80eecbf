import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from iris_local.errors import LocalClusterError
from iris_local.processes import Supervisor, fingerprint, identity_variables, kill, start_time, started_at

SLEEP = ["sleep", "300"]


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path, tmp_path / "logs")
    yield supervisor
    supervisor.stop(supervisor.all(), grace_seconds=0)


@pytest.fixture
def stranger() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(SLEEP) as process:
        yield process
        process.kill()


def test_a_started_process_is_found_by_its_name(supervisor: Supervisor) -> None:
    supervisor.ensure("sleep", SLEEP)
    found = supervisor.servers()["sleep"]
    assert started_at(found.pid) == found.started


def test_a_running_process_is_not_started_again(supervisor: Supervisor) -> None:
    supervisor.ensure("sleep", SLEEP)
    before = supervisor.servers()["sleep"]
    supervisor.ensure("sleep", SLEEP)
    assert supervisor.all() == [before]


def test_a_process_whose_arguments_change_is_replaced(supervisor: Supervisor) -> None:
    supervisor.ensure("sleep", SLEEP)
    before = supervisor.servers()["sleep"]
    supervisor.ensure("sleep", ["sleep", "301"])
    (after,) = supervisor.all()
    assert after.pid != before.pid


def test_a_process_whose_input_file_changes_is_replaced(supervisor: Supervisor, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("old")
    supervisor.ensure("sleep", SLEEP, inputs=[config])
    before = supervisor.servers()["sleep"]
    config.write_text("new")
    supervisor.ensure("sleep", SLEEP, inputs=[config])
    (after,) = supervisor.all()
    assert after.pid != before.pid


def test_another_clusters_processes_are_not_found(supervisor: Supervisor, tmp_path: Path) -> None:
    other = Supervisor(tmp_path / "other", tmp_path / "logs")
    other.ensure("sleep", SLEEP)
    try:
        assert supervisor.all() == []
    finally:
        other.stop(other.all(), grace_seconds=0)


def test_a_child_process_is_found_but_is_not_a_server(supervisor: Supervisor) -> None:
    supervisor.ensure("sh", ["sh", "-c", "sleep 300; true"])
    supervisor.wait("sh", lambda: len(supervisor.all()) > 1, timeout=5)
    assert sorted((process.program, process.is_server) for process in supervisor.all()) == [
        ("sh", True),
        ("sleep", False),
    ]
    assert list(supervisor.servers()) == ["sh"]


def test_a_process_that_ignores_sigterm_is_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    supervisor.ensure("sh", ["sh", "-c", f"trap '' TERM; touch {ready}; while :; do sleep 300; done"])
    supervisor.wait("sh", ready.exists, timeout=5)
    supervisor.stop([supervisor.servers()["sh"]], grace_seconds=0.1)
    assert supervisor.servers() == {}


def test_a_process_that_ends_while_starting_is_reported_with_the_end_of_its_log(supervisor: Supervisor) -> None:
    supervisor.ensure("sh", ["sh", "-c", "echo the port is taken; exit 1"])
    with pytest.raises(LocalClusterError, match="sh ended while starting:\nthe port is taken"):
        supervisor.wait("sh", lambda: False, timeout=5)


def test_a_process_that_is_not_ready_in_time_is_reported(supervisor: Supervisor) -> None:
    supervisor.ensure("sleep", SLEEP)
    with pytest.raises(LocalClusterError, match="sleep is not ready after 0 s"):
        supervisor.wait("sleep", lambda: False, timeout=0.2)


def test_a_missing_process_is_reported(supervisor: Supervisor) -> None:
    supervisor.ensure("sleep", SLEEP)
    supervisor.require_running(["sleep"])
    with pytest.raises(LocalClusterError, match="etcd ended"):
        supervisor.require_running(["sleep", "etcd"])


def test_a_signal_reaches_only_a_process_of_the_same_start_time(stranger: "subprocess.Popen[bytes]") -> None:
    started = started_at(stranger.pid)
    assert started is not None
    kill({stranger.pid: started + 1})
    assert stranger.poll() is None
    kill({stranger.pid: started}, signal.SIGTERM)
    assert stranger.wait(timeout=5) == -signal.SIGTERM


def test_a_process_that_has_ended_is_ignored() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    kill({process.pid: 1})
    assert started_at(process.pid) is None


def test_the_start_time_is_read_for_any_program_name() -> None:
    fields = " ".join(str(number) for number in range(3, 53))
    assert start_time(f"42 (a) b (c) d) {fields}\n") == 22
    assert start_time(Path("/proc/self/stat").read_text()) == started_at(os.getpid())


def test_our_variables_are_read_from_an_environment_with_others() -> None:
    environ = b"PATH=/bin\0IRIS_LOCAL_ROOT=/cache=x\0IRIS_LOCAL_PROCESS=etcd\0LANG=\xff\0"
    assert identity_variables(environ) == {"IRIS_LOCAL_ROOT": "/cache=x", "IRIS_LOCAL_PROCESS": "etcd"}


def test_the_fingerprint_changes_with_the_command_and_its_input_files(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("a")
    prints = [fingerprint(["etcd"], []), fingerprint(["etcd", "-v"], []), fingerprint(["etcd"], [config])]
    config.write_text("b")
    prints.append(fingerprint(["etcd"], [config]))
    assert len(set(prints)) == len(prints)


def test_a_supervisor_never_counts_its_own_program(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path;"
        "from iris_local.processes import Supervisor; print(Supervisor(Path(sys.argv[2]), Path()).all())"
    )
    source = Path(sys.modules["iris_local"].__path__[0]).parent
    done = subprocess.run(
        [sys.executable, "-c", code, str(source), str(tmp_path)],
        env={"IRIS_LOCAL_ROOT": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
