"""Real servers as children of the test run: logged, awaited, and ended by pid even when the run is killed."""

import contextlib
import functools
import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from iris_local.processes import started_at

_POLL_SECONDS = 0.05
_STOP_SECONDS = 20
_PORTS = range(20_000, 30_000)
_PORTS_OF_A_PROCESS = 200


class ServerError(Exception):
    """A server ended early or did not answer in time; the message carries the end of its log."""


class ServerProcess:
    """One server, which may be stopped, killed and started again on the same port and data."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        ready: Callable[[], bool],
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        ready_seconds: float = 60,
    ) -> None:
        self._command = [*_dies_with_this_process(user), *command]
        self._log = log
        self._ready = ready
        self._environment = dict(environment) if environment is not None else None
        self._stop_signal = stop_signal
        self._ready_seconds = ready_seconds
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process id; it must have been started."""
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        """Returns once the server is ready; raises ServerError when it ends or takes too long."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )
        deadline = time.monotonic() + self._ready_seconds
        while not self._ready():
            if (code := self._process.poll()) is not None:
                raise ServerError(f"{self._command} exited with {code}:\n{self._tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServerError(f"{self._command} was not ready after {self._ready_seconds} s:\n{self._tail()}")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Sends the stop signal and waits; kills it after a timeout. Does nothing when it is not running."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(self._stop_signal)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def wait(self, seconds: float) -> int:
        """Waits until it ends by itself and returns its exit code; subprocess.TimeoutExpired when it does not."""
        assert self._process is not None, "not started"
        return self._process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL, which looks like a crash to its clients. Its children notice; returns when they have ended, too."""
        if self._process is None:
            return
        children = [] if self._process.poll() is not None else _children_from_now_on(self._process.pid)
        self._process.kill()
        self._process.wait()
        # They hold what a successor on the same data needs: a PostgreSQL does not start beside them.
        deadline = time.monotonic() + _STOP_SECONDS
        while left := [pid for pid, started in children if _runs(pid, started)]:
            if time.monotonic() > deadline:
                raise ServerError(f"children of {self._command} outlived it by {_STOP_SECONDS} s: {left}")
            time.sleep(_POLL_SECONDS)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Suspends it while it keeps its connections: a peer that is connected and does not respond."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-40:])


def free_port() -> int:
    """A TCP port on loopback that nothing listens on at this moment.

    Nobody gets it before the server does, neither a client's connection nor another call nor another test run: it is
    below the ports that the kernel gives to clients (and those that Kubernetes gives to nodes), each process has ports
    of its own, and each call takes the next one.
    """
    ports = _ports_of_this_process()
    for _ in range(_PORTS_OF_A_PROCESS):
        port = next(ports)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerError(f"none of this process's {_PORTS_OF_A_PROCESS} ports is free")


@functools.cache
def _ports_of_this_process() -> Iterator[int]:
    """Ports that no other process of the network namespace is given while this one runs, again and again."""
    for first in _PORTS[::_PORTS_OF_A_PROCESS]:
        # A name that one socket can have, and that the kernel takes back however the process ends.
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0iris-release-tests-ports-{first}")
        except OSError:
            claim.close()
            continue
        # Open until this process ends.
        claim.detach()
        return itertools.cycle(range(first, first + _PORTS_OF_A_PROCESS))
    raise ServerError(f"other processes have all of {_PORTS}")


def accepts(port: int) -> bool:
    """Whether something on loopback accepts a TCP connection."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def _children_from_now_on(pid: int) -> list[tuple[int, int]]:
    """The children of a child of ours, with the ticks at which they started. It is stopped, so that it gets no more."""
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [(child, started) for child in children if (started := started_at(child)) is not None]


def _runs(pid: int, started: int) -> bool:
    try:
        ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False
    return not ended and started_at(pid) == started


def _dies_with_this_process(user: str | None) -> list[str]:
    # A test run that is killed must not leave servers behind, and has no chance to end them itself.
    as_user = [f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    return ["setpriv", *as_user, "--pdeathsig=KILL", "--"]
