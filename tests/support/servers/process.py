"""Real servers as children of the test run: logged, awaited, and ended by pid however the run ends."""

import contextlib
import itertools
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

_POLL_SECONDS = 0.05
_STOP_SECONDS = 20
_PORTS = range(20_000, 30_000)
_next_port = itertools.islice(itertools.cycle(_PORTS), secrets.randbelow(len(_PORTS)), None)


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
        """Asks it to end and waits; kills it when it does not listen. Does nothing when it is not running."""
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
        """SIGKILL, as a crash would look to its clients."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stops it from running while it keeps its connections: the peer that is there and says nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-40:])


def free_port() -> int:
    """A TCP port on loopback that nothing listens on at this moment.

    Neither a client's connection nor another call gets it before the server does: it is below the ports that the kernel
    gives to clients (and those that Kubernetes gives to nodes), and each call takes the next one, from a random start.
    """
    for _ in _PORTS:
        port = next(_next_port)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerError(f"no port of {_PORTS} is free")


def accepts(port: int) -> bool:
    """Whether something on loopback accepts a TCP connection."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def _dies_with_this_process(user: str | None) -> list[str]:
    # A test run that is killed must not leave servers behind, and has no chance to end them itself.
    as_user = [f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    return ["setpriv", *as_user, "--pdeathsig=KILL", "--"]
