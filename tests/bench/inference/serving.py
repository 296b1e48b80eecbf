"""A server as a running process, and single requests to it."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from bench.inference.forms import CONTENT_TYPE
from bench.inference.instances import Instance
from bench.inference.load import Target
from bench.inference.server import Sandbox, ServerSpec, environment_variables, pinned

HOST: Final = "127.0.0.1"
_READY_SECONDS: Final = 90
_STOP_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.005


class ServingError(Exception):
    """A server ended early, did not become ready, or sent a wrong response; the message has the details."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A running server: its process, its ports, and the headers that it requires."""

    spec: ServerSpec
    sandbox: Sandbox
    process: subprocess.Popen[bytes]
    log: Path
    headers: Mapping[str, str]
    started_at: float
    """By the monotonic clock, just before it was started."""

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started_at

    @property
    def target(self) -> Target:
        """The target of the load."""
        url = f"http://{HOST}:{self.sandbox.ports[0]}{self.spec.request_format.path}"
        return Target(url, CONTENT_TYPE, tuple(self.headers.items()))

    def predict(self, instances: Sequence[Instance]) -> bytes:
        """Send one request. Raises ServingError unless the status is 200, and OSError."""
        body = self.spec.request_format.encode(instances)
        headers = {"Content-Type": CONTENT_TYPE, **self.headers}
        status, answer = request(self.sandbox.ports[0], "POST", self.spec.request_format.path, body, headers)
        if status != HTTPStatus.OK:
            raise ServingError(f"{self.spec.name} answered {status}: {answer[:500]!r}")
        return answer

    def predict_labels(self, instances: Sequence[Instance]) -> list[int]:
        """The predicted class indices of some instances, one request each. Raises as `predict` does."""
        return [
            label
            for instance in instances
            for label in self.spec.request_format.decode_labels(json.loads(self.predict([instance])))
        ]

    def wait_until_ready(self, instance: Instance) -> bytes:
        """The body of its first response. Raises ServingError when it ends or takes too long."""
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                return self.predict([instance])
            except (ServingError, OSError, http.client.HTTPException) as error:
                self.check_alive()
                if time.monotonic() > deadline:
                    raise ServingError(f"{self.spec.name} is not ready after {_READY_SECONDS} s") from error
                time.sleep(_POLL_SECONDS)

    def check_alive(self) -> None:
        """Raises ServingError, with the end of its log, when the process has ended."""
        if (code := self.process.poll()) is not None:
            end = self.log.read_text(errors="replace")[-2_000:]
            raise ServingError(f"{self.spec.name} exited with {code}:\n{end}")


def request(
    port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """One request on a connection of its own: the status and the body. Raises OSError and HTTPException."""
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextlib.contextmanager
def run_server(
    spec: ServerSpec, sandbox: Sandbox, variables: Mapping[str, str], headers: Mapping[str, str]
) -> Iterator[RunningServer]:
    """Start a server on the servers' core and stop it afterwards, with its children; see `wait_until_ready`."""
    start = spec.launch_command(sandbox)
    sandbox.folder.mkdir(parents=True, exist_ok=True)
    log = sandbox.folder / "log"
    extra = {**start.variables, **variables}
    born = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            pinned(start.command),
            cwd=sandbox.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment_variables(spec.environment, sandbox.folder, extra),
            # A group of its own, so that what it starts ends with it.
            process_group=0,
        )
    try:
        yield RunningServer(spec, sandbox, process, log, headers, born)
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
