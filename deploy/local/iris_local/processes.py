"""Starts the cluster's processes, finds them again and ends them, without a supervisor and without pid files.

Every process gets marks in its environment: the root of the cluster it belongs to and its name. They are read back
from /proc, so nothing is forgotten when this program is killed between a start and a note of it, and a pid that
was given to another process meanwhile is never mistaken for one of ours.
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

_ROOT_MARK = "IRIS_LOCAL_ROOT"
_NAME_MARK = "IRIS_LOCAL_PROCESS"
_SPEC_MARK = "IRIS_LOCAL_SPEC"
_PROC = Path("/proc")
_SIGTERM_PATIENCE = 5.0


@dataclass(frozen=True)
class Process:
    """A running process with our marks. Pid and start time together name it for as long as the machine runs."""

    pid: int
    started: int
    name: str
    spec: str
    program: str

    @property
    def is_server(self) -> bool:
        """False for what our processes started in turn: it inherits the marks but runs another program."""
        return self.program == self.name


class Supervisor:
    """The processes of the cluster that lies in one folder."""

    def __init__(self, root: Path, logs: Path) -> None:
        self._root = root
        self._logs = logs
        self._children: list[subprocess.Popen[bytes]] = []

    def ensure(self, name: str, argv: Sequence[str | Path], inputs: Sequence[Path] = ()) -> None:
        """Starts a process unless it runs already with the same arguments and the same contents of its input files.

        The name must be that of the program, because it is how the process is told from its children. Its output
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
        marks = {_ROOT_MARK: str(self._root), _NAME_MARK: name, _SPEC_MARK: spec}
        with self.log(name).open("a") as sink:
            child = subprocess.Popen(
                command,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin", "HOME": str(self._root), **marks},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        self._children.append(child)
        _await_marks(child)

    def log(self, name: str) -> Path:
        """The file that takes a process's output."""
        return self._logs / f"{name}.log"

    def all(self) -> list[Process]:
        """Everything that runs with the marks of this cluster, this very program excepted."""
        return [process for process in _marked(str(self._root)) if process.pid != os.getpid()]

    def servers(self) -> dict[str, Process]:
        """The processes that `ensure` started, by name."""
        return {process.name: process for process in self.all() if process.is_server}

    def stop(self, processes: Sequence[Process], patience: float = _SIGTERM_PATIENCE) -> None:
        """Asks processes to end, kills those that have not after `patience` seconds, and waits until all are gone."""
        if patience > 0:
            _signal_and_wait(processes, signal.SIGTERM, patience)
        survivors = _signal_and_wait(processes, signal.SIGKILL, 10)
        if survivors:
            raise LocalClusterError(f"These processes do not die: {survivors}")
        self._children = [child for child in self._children if child.poll() is None]

    def wait(self, name: str, ready: Callable[[], bool], timeout: float) -> None:
        """Waits until a process is ready.

        Raises:
            LocalClusterError: it ended, or was not ready within `timeout` seconds; the text quotes its log.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if name not in self.servers():
                raise LocalClusterError(f"{name} ended at its start:\n{self._last_words(name)}")
            if time.monotonic() > deadline:
                raise LocalClusterError(f"{name} is not ready after {timeout:.0f} s:\n{self._last_words(name)}")
            time.sleep(0.1)

    def require(self, names: Sequence[str]) -> None:
        """Raises LocalClusterError when one of these processes does not run; the text quotes its log."""
        running = self.servers()
        for name in names:
            if name not in running:
                raise LocalClusterError(f"{name} ended:\n{self._last_words(name)}")

    def _last_words(self, name: str) -> str:
        log = self.log(name)
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return "\n".join([*lines[-15:], f"(all of it in {log})"])


def fingerprint(command: Sequence[str], inputs: Sequence[Path]) -> str:
    """A hash of a command and the contents of the files it reads: when it changes, the process has to start anew."""
    digest = hashlib.sha256("\0".join(command).encode())
    for path in inputs:
        digest.update(b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def start_time(stat: str) -> int:
    """The start time from the text of /proc/<pid>/stat, in clock ticks after the machine's start.

    The second field, the program's name, may hold spaces and parentheses, so fields count from its end.
    """
    return int(stat.rpartition(")")[2].split()[19])


def marks(environ: bytes) -> dict[str, str]:
    """Our marks from the contents of /proc/<pid>/environ."""
    pairs = (entry.decode(errors="replace").partition("=") for entry in environ.split(b"\0"))
    return {name: value for name, _, value in pairs if name in (_ROOT_MARK, _NAME_MARK, _SPEC_MARK)}


def kill(identities: Mapping[int, int], signal_number: signal.Signals = signal.SIGKILL) -> None:
    """Sends a signal to processes given as pid and start time; those that ended meanwhile are passed over."""
    for pid, started in identities.items():
        handle = _open(pid, started)
        if handle is not None:
            _send(handle, signal_number)
            os.close(handle)


def started_at(pid: int) -> int | None:
    """When a process started, in clock ticks after the machine's start; None when there is no such process."""
    try:
        return start_time((_PROC / str(pid) / "stat").read_text())
    except (OSError, IndexError):
        return None


def _marked(root: str) -> Iterator[Process]:
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        pid = int(entry.name)
        try:
            found = marks((entry / "environ").read_bytes())
            program = (entry / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
        except OSError:  # it ended, or it is a kernel thread
            continue
        started = started_at(pid)
        if found.get(_ROOT_MARK) == root and started is not None:
            yield Process(pid, started, found.get(_NAME_MARK, ""), found.get(_SPEC_MARK, ""), Path(program).name)


def _await_marks(child: "subprocess.Popen[bytes]") -> None:
    """Returns when a new process can be found by its marks, or has ended.

    Popen returns when the kernel closes the descriptors of the old program, a moment before it lays out the new one's
    environment: who looks in between sees a process without marks, and would take it for one that ended.
    """
    environ = _PROC / str(child.pid) / "environ"
    while child.poll() is None:
        with contextlib.suppress(OSError):
            if marks(environ.read_bytes()):
                return
        time.sleep(0.001)


def _open(pid: int, started: int) -> int | None:
    """A handle on exactly this process. A handle never comes to mean another one, so the check after it suffices."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if started_at(pid) == started:
        return handle
    os.close(handle)
    return None


def _send(handle: int, signal_number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(handle, signal_number)
    except ProcessLookupError:
        return


def _signal_and_wait(processes: Sequence[Process], signal_number: signal.Signals, patience: float) -> list[Process]:
    """Signals all, waits for all; returns those that still run."""
    handles = {process: _open(process.pid, process.started) for process in processes}
    open_handles = {process: handle for process, handle in handles.items() if handle is not None}
    for handle in open_handles.values():
        _send(handle, signal_number)
    deadline = time.monotonic() + patience
    remaining = dict(open_handles)
    while remaining and time.monotonic() < deadline:
        # A handle becomes readable when its process ends.
        ended, _, _ = select.select(list(remaining.values()), [], [], max(0.0, deadline - time.monotonic()))
        remaining = {process: handle for process, handle in remaining.items() if handle not in ended}
    for handle in open_handles.values():
        os.close(handle)
    return list(remaining)
