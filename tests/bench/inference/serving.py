"""A contestant as a running process, and single questions to it."""

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

from bench.inference.contestant import Contestant, Place, pinned, surroundings
from bench.inference.flowers import Flower
from bench.inference.forms import CONTENT_TYPE
from bench.inference.load import Target

HOST: Final = "127.0.0.1"
_READY_SECONDS: Final = 90
_STOP_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.005


class ServingError(Exception):
    """A server ended early, did not become ready, or answered wrongly; the message says which and how."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its process, where it is asked, and the headers that it wants."""

    contestant: Contestant
    place: Place
    process: subprocess.Popen[bytes]
    log: Path
    headers: Mapping[str, str]
    born: float
    """By the monotonic clock, just before it was started."""

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.born

    @property
    def target(self) -> Target:
        """Where load goes."""
        url = f"http://{HOST}:{self.place.ports[0]}{self.contestant.form.path}"
        return Target(url, CONTENT_TYPE, tuple(self.headers.items()))

    def ask(self, flowers: Sequence[Flower]) -> bytes:
        """One question. Raises ServingError unless the answer is 200, and OSError."""
        body = self.contestant.form.body(flowers)
        headers = {"Content-Type": CONTENT_TYPE, **self.headers}
        status, answer = request(self.place.ports[0], "POST", self.contestant.form.path, body, headers)
        if status != HTTPStatus.OK:
            raise ServingError(f"{self.contestant.name} answered {status}: {answer[:500]!r}")
        return answer

    def labels(self, flowers: Sequence[Flower]) -> list[int]:
        """The class indices that it answers for some flowers, asked one by one. Raises as `ask` does."""
        return [label for flower in flowers for label in self.contestant.form.labels(json.loads(self.ask([flower])))]

    def await_ready(self, flower: Flower) -> bytes:
        """The first answer that it gives. Raises ServingError when it ends or takes too long."""
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                return self.ask([flower])
            except (ServingError, OSError, http.client.HTTPException) as error:
                self.check_alive()
                if time.monotonic() > deadline:
                    raise ServingError(f"{self.contestant.name} is not ready after {_READY_SECONDS} s") from error
                time.sleep(_POLL_SECONDS)

    def check_alive(self) -> None:
        """Raises ServingError, with the end of its log, when the process is gone."""
        if (code := self.process.poll()) is not None:
            end = self.log.read_text(errors="replace")[-2_000:]
            raise ServingError(f"{self.contestant.name} exited with {code}:\n{end}")


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
def serving(
    contestant: Contestant, place: Place, variables: Mapping[str, str], headers: Mapping[str, str]
) -> Iterator[Server]:
    """Start a contestant on the servers' core and end it afterwards, with its children. Not awaited: `await_ready`."""
    start = contestant.start(place)
    place.folder.mkdir(parents=True, exist_ok=True)
    log = place.folder / "log"
    own = {**start.variables, **variables}
    born = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            pinned(start.command),
            cwd=place.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=surroundings(contestant.environment, place.folder, own),
            # A group of its own, so that what it starts ends with it.
            process_group=0,
        )
    try:
        yield Server(contestant, place, process, log, headers, born)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
