"""Starts, finds and stops the cluster's processes, without a supervising process and without pid files.

Every process has identifying variables in its environment: the cache root of its cluster and its name. They are read
from /proc, so no process is lost when this program is killed right after a start, and a reused pid is never mistaken
for one of ours.
"""

import contextlib
import hashlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from iris_local.errors import LocalClusterError

_ROOT_VARIABLE = "IRIS_LOCAL_ROOT"
_NAME_VARIABLE = "IRIS_LOCAL_PROCESS"
_SPEC_VARIABLE = "IRIS_LOCAL_SPEC"
_PROC = Path("/proc")
_SIGTERM_SECONDS = 5.0


@dataclass(frozen=True)
class Process:
    """A running process with our variables. Pid and start time together identify it until the machine is rebooted."""

    pid: int
    started: int
    name: str
    spec: str
    program: str

    @property
    def is_server(self) -> bool:
        """False for children of our processes: they inherit the variables but run another program."""
        return self.program == self.name


class Supervisor:
    """The processes of the cluster of one cache root."""

    def __init__(self, root: Path, logs: Path) -> None:
        self._root = root
        self._logs = logs
        self._children: list[subprocess.Popen[bytes]] = []

    def ensure(self, name: str, argv: Sequence[str | Path], inputs: Sequence[Path] = ()) -> None:
        """Starts a process unless it runs already with the same arguments and the same contents of its input files.

        The name must be that of the program, because it distinguishes the process from its children. Its output
        goes to `<logs>/<name>.log`.
        """
        command = [str(part) for part in argv]
        spec = fingerprint(command, inputs)
        running = self.servers().get(name)
        if running is not None and running.spec == spec:
            return
        if running is not None:
            self.stop([running])
        self._logs.mkdir(parents=True, exist_ok=True)
        variables = {_ROOT_VARIABLE: str(self._root), _NAME_VARIABLE: name, _SPEC_VARIABLE: spec}
        with self.log_file(name).open("a") as sink:
            child = subprocess.Popen(
                command,
                cwd="/",
                env={
                    "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin",
                    "HOME": str(self._root),
                    **variables,
                },
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        self._children.append(child)
        _wait_until_identifiable(child)

    def log_file(self, name: str) -> Path:
        """The file with a process's output."""
        return self._logs / f"{name}.log"

    def all(self) -> list[Process]:
        """Every running process with this cluster's variables, except this program."""
        return [process for process in _processes_of(str(self._root)) if process.pid != os.getpid()]

    def servers(self) -> dict[str, Process]:
        """The processes that `ensure` started, by name."""
        return {process.name: process for process in self.all() if process.is_server}

    def stop(self, processes: Sequence[Process], grace_seconds: float = _SIGTERM_SECONDS) -> None:
        """Sends SIGTERM, kills processes that have not ended after `grace_seconds`, and waits until all have ended."""
        if grace_seconds > 0:
            _signal_and_wait(processes, signal.SIGTERM, grace_seconds)
        survivors = _signal_and_wait(processes, signal.SIGKILL, 10)
        if survivors:
            raise LocalClusterError(f"These processes do not die: {survivors}")
        self._children = [child for child in self._children if child.poll() is None]

    def wait(self, name: str, ready: Callable[[], bool], timeout: float) -> None:
        """Waits until a process is ready.

        Raises:
            LocalClusterError: it ended, or was not ready within `timeout` seconds; the message quotes its log.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if name not in self.servers():
                raise LocalClusterError(f"{name} ended while starting:\n{self._log_tail(name)}")
            if time.monotonic() > deadline:
                raise LocalClusterError(f"{name} is not ready after {timeout:.0f} s:\n{self._log_tail(name)}")
            time.sleep(0.1)

    def require_running(self, names: Sequence[str]) -> None:
        """Raises LocalClusterError when one of these processes does not run; the message quotes its log."""
        running = self.servers()
        for name in names:
            if name not in running:
                raise LocalClusterError(f"{name} ended:\n{self._log_tail(name)}")

    def _log_tail(self, name: str) -> str:
        log = self.log_file(name)
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return "\n".join([*lines[-15:], f"(all of it in {log})"])


def fingerprint(command: Sequence[str], inputs: Sequence[Path]) -> str:
    """A hash of a command and the contents of its input files: when it changes, the process has to be restarted."""
    digest = hashlib.sha256("\0".join(command).encode())
    for path in inputs:
        digest.update(b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def start_time(stat: str) -> int:
    """The start time from the text of /proc/<pid>/stat, in clock ticks after boot.

    The second field, the program's name, may contain spaces and parentheses, so fields are counted from its end.
    """
    return int(stat.rpartition(")")[2].split()[19])


def identity_variables(environ: bytes) -> dict[str, str]:
    """Our variables from the contents of /proc/<pid>/environ."""
    pairs = (entry.decode(errors="replace").partition("=") for entry in environ.split(b"\0"))
    return {name: value for name, _, value in pairs if name in (_ROOT_VARIABLE, _NAME_VARIABLE, _SPEC_VARIABLE)}


def kill(identities: Mapping[int, int], signal_number: signal.Signals = signal.SIGKILL) -> None:
    """Sends a signal to processes given as pid and start time; those that ended meanwhile are ignored."""
    for pid, started in identities.items():
        handle = _open_pidfd(pid, started)
        if handle is not None:
            _send_signal(handle, signal_number)
            os.close(handle)


def started_at(pid: int) -> int | None:
    """When a process started, in clock ticks after boot; None when there is no such process."""
    try:
        return start_time((_PROC / str(pid) / "stat").read_text())
    except (OSError, IndexError):
        return None


def _processes_of(root: str) -> Iterator[Process]:
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        pid = int(entry.name)
        try:
            found = identity_variables((entry / "environ").read_bytes())
            program = (entry / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
        except OSError:  # it ended, or it is a kernel thread
            continue
        started = started_at(pid)
        if found.get(_ROOT_VARIABLE) == root and started is not None:
            yield Process(
                pid, started, found.get(_NAME_VARIABLE, ""), found.get(_SPEC_VARIABLE, ""), Path(program).name
            )


def _wait_until_identifiable(child: "subprocess.Popen[bytes]") -> None:
    """Returns when a new process can be found by its variables, or has ended.

    Popen returns when the kernel closes the descriptors of the old program, a moment before it sets up the new one's
    environment: meanwhile the process has no such variables and would be taken for one that has ended.
    """
    environ = _PROC / str(child.pid) / "environ"
    while child.poll() is None:
        with contextlib.suppress(OSError):
            if identity_variables(environ.read_bytes()):
                return
        time.sleep(0.001)


def _open_pidfd(pid: int, started: int) -> int | None:
    """A pidfd of exactly this process. It never refers to another process, so it suffices to check it afterwards."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if started_at(pid) == started:
        return handle
    os.close(handle)
    return None


def _send_signal(handle: int, signal_number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(handle, signal_number)
    except ProcessLookupError:
        return


def _signal_and_wait(processes: Sequence[Process], signal_number: signal.Signals, timeout: float) -> list[Process]:
    """Signals all processes and waits for them; returns those that still run."""
    handles = {process: _open_pidfd(process.pid, process.started) for process in processes}
    open_handles = {process: handle for process, handle in handles.items() if handle is not None}
    for handle in open_handles.values():
        _send_signal(handle, signal_number)
    deadline = time.monotonic() + timeout
    remaining = dict(open_handles)
    while remaining and time.monotonic() < deadline:
        # A pidfd becomes readable when its process ends.
        ended, _, _ = select.select(list(remaining.values()), [], [], max(0.0, deadline - time.monotonic()))
        remaining = {process: handle for process, handle in remaining.items() if handle not in ended}
    for handle in open_handles.values():
        os.close(handle)
    return list(remaining)
