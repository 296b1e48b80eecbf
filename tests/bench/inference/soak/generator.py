"""Open-loop load at a constant rate, independent of the responses, from a process of its own.

Every request has a new instance. Writes a line of JSON a second: the requests sent, answered and lost since the start,
and the latencies of that second, measured from the time at which a request was due, so that queueing is included.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import uvloop

from bench.inference.forms import CONTENT_TYPE
from bench.inference.instances import instances

HOST: Final = "127.0.0.1"
# Latencies are counted in steps of so many microseconds.
STEP_MICROSECONDS: Final = 100
_TICK_SECONDS: Final = 0.001
_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "
_STATUS_OK: Final = b"HTTP/1.1 200 "


@dataclass(frozen=True, slots=True)
class LoadConfig:
    """What to send: the target, requests a second for how many seconds, and the maximum of connections.

    `timeout` is how many seconds a request may wait for a connection, and at the end for the last responses.
    """

    port: int
    path: str
    rate: float
    seconds: float
    connections: int
    seed: int
    headers: tuple[str, ...] = ()
    timeout: float = 30


class Generator:
    """Sends requests when they are due, on any free connection."""

    def __init__(self, config: LoadConfig) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.failed = 0
        self.latencies: Counter[int] = Counter()
        self._config = config
        self._instances = instances(config.seed)
        lines = [f"POST {config.path} HTTP/1.1", f"Host: {HOST}:{config.port}", f"Content-Type: {CONTENT_TYPE}"]
        self._head = "\r\n".join((*lines, *config.headers, "Content-Length: ")).encode()
        self._free: list[Connection] = []
        self._queue: deque[float] = deque()
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Send all requests, and wait for the last responses. Raises TimeoutError when the service is too slow."""
        for _ in range(self._config.connections):
            await self.connect()
        start = self._loop.time()
        while (passed := self._loop.time() - start) < self._config.seconds:
            while self.sent < int(passed * self._config.rate):
                self._send(start + self.sent / self._config.rate)
            if len(self._queue) > self._config.rate * self._config.timeout:
                raise TimeoutError("the service does not sustain this rate")
            await asyncio.sleep(_TICK_SECONDS)
        deadline = self._loop.time() + self._config.timeout
        while self.acknowledged + self.failed < self.sent:
            if self._loop.time() > deadline:
                raise TimeoutError("the last responses did not arrive")
            await asyncio.sleep(_TICK_SECONDS)

    async def connect(self) -> None:
        """Open another connection."""
        await self._loop.create_connection(lambda: Connection(self), HOST, self._config.port)

    def connection_free(self, connection: "Connection") -> None:
        """A connection is free: use it for the request that has waited longest, if any."""
        if self._queue:
            self._start(connection, self._queue.popleft())
        else:
            self._free.append(connection)

    def response_received(self, due: float, *, ok: bool) -> None:
        """Count a response."""
        self.latencies[int((self._loop.time() - due) * 1_000_000 / STEP_MICROSECONDS)] += 1
        if ok:
            self.acknowledged += 1
        else:
            self.failed += 1

    def connection_lost(self, connection: "Connection", due: float | None) -> None:
        """A connection was closed, with an unanswered request unless `due` is None."""
        if due is not None:
            self.failed += 1
        if connection in self._free:
            self._free.remove(connection)
        self._reconnecting = self._loop.create_task(self.connect())

    def _send(self, due: float) -> None:
        self.sent += 1
        if self._free:
            self._start(self._free.pop(), due)
        else:
            self._queue.append(due)

    def _start(self, connection: "Connection", due: float) -> None:
        body = b'{"instances":[[%s,%s,%s,%s]]}' % tuple(str(length).encode() for length in next(self._instances))
        connection.send(b"%b%d\r\n\r\n%b" % (self._head, len(body), body), due)


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._transport: asyncio.Transport | None = None
        self._due: float | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open, and free."""
        # uvloop's transport has the interface of asyncio.Transport but does not inherit from it.
        self._transport = cast("asyncio.Transport", transport)
        self._generator.connection_free(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        """It is closed, which a server does only at its end."""
        self._generator.connection_lost(self, self._due)

    def send(self, request: bytes, due: float) -> None:
        """Send a request that was due at `due` by the loop's clock."""
        assert self._transport is not None
        self._due = due
        self._received = b""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """A part of the response, or all of it."""
        self._received += data
        head, end, body = self._received.partition(_END_OF_HEAD)
        if not end or self._due is None:
            return
        length = head.lower().partition(_LENGTH)[2].partition(b"\r\n")[0]
        if len(body) < int(length):
            return
        due, self._due = self._due, None
        self._generator.response_received(due, ok=head.startswith(_STATUS_OK))
        self._generator.connection_free(self)


async def generate(config: LoadConfig) -> None:
    """Generate the load and report each second. Raises TimeoutError as `Generator.run` does."""
    generator = Generator(config)
    reporting = asyncio.create_task(_report_periodically(generator))
    try:
        await generator.run()
    finally:
        reporting.cancel()
        _report(generator)


async def _report_periodically(generator: Generator) -> None:
    while True:
        await asyncio.sleep(1)
        _report(generator)


def _report(generator: Generator) -> None:
    report = {
        "sent": generator.sent,
        "acknowledged": generator.acknowledged,
        "failed": generator.failed,
        "latencies": generator.latencies,
    }
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()
    generator.latencies.clear()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the generator's process."""
    parser = argparse.ArgumentParser(prog="python -m bench.inference.soak.generator", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True, help="seed of the instances")
    parser.add_argument("--header", dest="headers", action="append", default=[], metavar="NAME: VALUE")
    parser.add_argument(
        "--timeout", "--patience", type=float, default=30, help="seconds that a request may wait for a connection"
    )
    options = vars(parser.parse_args(arguments))
    uvloop.run(generate(LoadConfig(**options | {"headers": tuple(options["headers"])})))


if __name__ == "__main__":
    main()
