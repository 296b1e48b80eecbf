"""Requests on the fast path: however they arrive, whatever happens meanwhile, alone or in a batch."""

import asyncio
import io
import logging
import re
from collections.abc import Sequence
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from iris_inference import metric_names
from iris_inference.api.access_log import LOGGER
from iris_inference.api.context import AppContext
from iris_inference.api.schemas import FEATURES
from iris_inference.auth.guard import OpenGuard
from iris_inference.cache.base import NoCache
from iris_inference.cache.memory_cache import MemoryCache
from iris_inference.lifecycle import Lifecycle
from iris_inference.logs import LogWriter
from iris_inference.main import create_app
from iris_inference.metrics.registry import Metrics
from iris_inference.model.prediction import Prediction
from iris_inference.model.runtime import Model, Packed
from iris_inference.prediction.feedback import FeedbackService
from iris_inference.prediction.mirror import NoMirror
from iris_inference.prediction.service import PredictionService
from iris_inference.recording.record import NoRecorder
from iris_inference.server.connection import BoundedProtocol, bounded_protocol
from iris_inference.server.connection_limiter import ConnectionLimiter
from iris_inference.server.raw_response import RawResponseWriter
from iris_inference.settings import Settings
from iris_inference.shadow.shadow import Shadow
from support.inference import graphs

BODY = b'{"instances": [[1, 1, 1, 1]]}'
HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
REQUEST = HEAD % len(BODY) + BODY
WRONG = HEAD % 2 + b"{}"


class DelayedCache(NoCache):
    """A remote cache that is empty and does not respond before `released` is set."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.released.set()

    async def get(self, flowers: Sequence[Packed]) -> list[Prediction | None]:
        await self.released.wait()
        return [None] * len(flowers)


class Transport(asyncio.Transport):
    """Collects what is written to the client."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 1), "peername": ("127.0.0.1", 2)})
        self.written = b""
        self.wrote = asyncio.Event()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        self.wrote.set()

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        """There is no socket to read from."""

    def resume_reading(self) -> None:
        """As above."""


@pytest.fixture(autouse=True)
def log_of_requests(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)


class Server:
    """The service without sockets, with a model that fails for negative lengths. Made in a running event loop."""

    def __init__(self, cache_entries: int = 0) -> None:
        artifact = graphs.artifact(graphs.square_root())
        settings = Settings(auth="off")
        manifest = artifact.manifest
        self.log = io.BytesIO()
        self.metrics = Metrics(manifest, FEATURES)
        self.remote = DelayedCache()
        self.lifecycle = Lifecycle()
        self.predictions = PredictionService(
            Model(artifact, FEATURES),
            (MemoryCache(self.metrics, cache_entries), self.remote),
            NoRecorder(),
            self.metrics,
            "r",
        )
        self.lifecycle.loaded()
        self.app = create_app(
            AppContext(
                settings=settings,
                manifest=manifest,
                metrics=self.metrics,
                lifecycle=self.lifecycle,
                feedback=FeedbackService(None, self.metrics, "r", manifest.classes, NoMirror()),
                guard=OpenGuard(),
                mirror=NoMirror(),
                predictions=self.predictions,
            ),
            Shadow(settings, manifest, self.metrics, None, None),
            LogWriter(self.log),
        )
        protocol = bounded_protocol(settings, manifest.version, ConnectionLimiter(1_000), self.app.fast_paths)
        self.config = uvicorn.Config(self.app, interface="asgi3", http=protocol, lifespan="off", log_config=None)
        self.config.load()
        self.state = ServerState()
        self._protocol = protocol

    def connect(self) -> "Connection":
        return Connection(self._protocol(self.config, self.state, {}), self)

    def counted(self, code: int) -> float | None:
        return self.metrics.registry.get_sample_value(metric_names.REQUESTS, {"code": str(code)})

    def timed(self, cache: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"{metric_names.REQUEST_DURATION}_count", {"cache": cache})


class Connection:
    """The server's side of a connection, and what was written to the client."""

    def __init__(self, protocol: BoundedProtocol, server: Server) -> None:
        self.protocol = protocol
        self.transport = Transport()
        self._server = server
        protocol.connection_made(self.transport)

    def send(self, data: bytes) -> None:
        self.protocol.data_received(data)

    async def answers(self, count: int = 1) -> list[bytes]:
        """`count` responses and nothing after them, without ids and dates."""
        async with asyncio.timeout(10):
            while len(_complete_responses(self.transport.written)) < count:
                await self.transport.wrote.wait()
                self.transport.wrote.clear()
        for _ in range(10):
            await asyncio.sleep(0)
        found = _complete_responses(self.transport.written)
        assert len(found) == count
        return found


def _complete_responses(written: bytes) -> list[bytes]:
    found = []
    while match := re.match(rb"HTTP/1.1 .*?\r\ncontent-length: (\d+)\r\n.*?\r\n\r\n", written, re.DOTALL):
        end = match.end() + int(match[1])
        if len(written) < end:
            break
        found.append(re.sub(rb"[0-9a-f]{32}|date: [^\r]*", b"", written[:end]))
        written = written[end:]
    return found


def statuses(answers: Sequence[bytes]) -> list[int]:
    return [int(answer[9:12]) for answer in answers]


async def test_valid_requests_need_no_task() -> None:
    """Seen to fail with `FastPath.try_serve` returning False."""
    server = Server()
    connections = [server.connect() for _ in range(5)]
    for connection in connections:
        connection.send(REQUEST)
    assert server.state.tasks == set()
    for connection in connections:
        assert statuses(await connection.answers()) == [200]
    assert server.counted(200) == server.state.total_requests == 5
    assert server.log.getvalue().count(b'"status":200') == 5


async def test_a_request_is_timed_under_the_tier_that_answered_it() -> None:
    """Seen to fail with no source passed to `Metrics.request`."""
    server = Server(cache_entries=10)
    connection = server.connect()
    for count in (1, 2, 3):
        connection.send(REQUEST)
        await connection.answers(count)
    assert server.state.tasks == set()
    assert (server.timed("none"), server.timed("local"), server.timed("redis")) == (1, 2, 0)


@pytest.mark.parametrize("request_bytes", [REQUEST, WRONG, REQUEST + WRONG + REQUEST], ids=["good", "wrong", "three"])
async def test_the_response_does_not_depend_on_how_a_request_is_split(request_bytes: bytes) -> None:
    """Seen to fail without `on_body` for the buffered parts."""
    server = Server()
    count = request_bytes.count(b"POST")
    unsplit = server.connect()
    unsplit.send(request_bytes)
    expected = await unsplit.answers(count)
    for place in range(1, len(request_bytes), 3):
        for pause in (False, True):
            split = server.connect()
            split.send(request_bytes[:place])
            if pause:
                await asyncio.sleep(0)
            split.send(request_bytes[place:])
            assert [sorted(answer.split(b"\r\n")) for answer in await split.answers(count)] == [
                sorted(answer.split(b"\r\n")) for answer in expected
            ]


async def test_a_body_that_arrives_after_its_headers_is_left_to_the_application() -> None:
    """It has a deadline for bodies. Seen to fail without the check of `_buffered_body` in `data_received`."""
    server = Server()
    connection = server.connect()
    connection.send(REQUEST[:-1])
    assert len(server.state.tasks) == 1
    connection.send(REQUEST[-1:])
    assert statuses(await connection.answers()) == [200]


async def test_pipelined_requests_are_answered_in_order() -> None:
    server = Server()
    server.remote.released.clear()
    connection = server.connect()
    connection.send(REQUEST + WRONG)
    connection.send(REQUEST)
    for _ in range(10):
        await asyncio.sleep(0)
    assert connection.transport.written == b""
    server.remote.released.set()
    assert statuses(await connection.answers(3)) == [200, 422, 200]


async def test_a_request_that_fails_does_not_affect_the_others() -> None:
    server = Server()
    good, bad = server.connect(), server.connect()
    good.send(REQUEST)
    bad.send(REQUEST.replace(b"1, 1, 1, 1", b"0,-9, 0, 0"))
    assert statuses(await good.answers()) == [200]
    (failed,) = await bad.answers()
    assert b"HTTP/1.1 500" in failed
    assert b"non_finite" in failed
    assert server.counted(500) == 1
    assert b'"failure":{"reason":"non_finite"' in server.log.getvalue()


async def test_an_unexpected_error_is_answered_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen to fail without the `except` in `FastPathRequest.succeed`: the others get no response."""
    server = Server()
    render = RawResponseWriter.render
    first = iter([True])

    def fail_once(self: RawResponseWriter, *arguments: Any) -> bytes:
        if next(first, False):
            raise RuntimeError("unexpected")
        return render(self, *arguments)

    monkeypatch.setattr(RawResponseWriter, "render", fail_once)
    unlucky, lucky = server.connect(), server.connect()
    for connection in (unlucky, lucky):
        connection.send(REQUEST)
    assert statuses(await unlucky.answers() + await lucky.answers()) == [500, 200]
    assert (server.counted(500), server.counted(200)) == (1, 1)


async def test_a_disconnected_client_is_not_written_to_and_the_others_are() -> None:
    """Seen to fail without the check of `disconnected`."""
    server = Server()
    server.remote.released.clear()
    gone, stays = server.connect(), server.connect()
    for connection in (gone, stays):
        connection.send(REQUEST)
    await asyncio.sleep(0)
    gone.protocol.connection_lost(ConnectionResetError())
    server.remote.released.set()
    assert statuses(await stays.answers()) == [200]
    assert gone.transport.written == b""
    await server.predictions.drain()
    assert server.counted(200) == 2


async def test_shutdown_waits_for_requests_in_progress() -> None:
    """Seen to fail with `finish` that returns at once."""
    server = Server()
    server.remote.released.clear()
    server.connect().send(REQUEST)
    await asyncio.sleep(0)
    finishing = asyncio.create_task(server.predictions.drain())
    await asyncio.sleep(0)
    assert not finishing.done()
    server.remote.released.set()
    await finishing
    assert server.counted(200) == 1


async def test_shutdown_completes_when_work_was_cancelled() -> None:
    """Seen to fail with `finish` that is cancelled with it."""
    server = Server()
    server.remote.released.clear()
    connection = server.connect()
    connection.send(REQUEST)
    await asyncio.sleep(0)
    finishing = asyncio.create_task(server.predictions.drain())
    await asyncio.sleep(0)
    (group,) = asyncio.all_tasks() - {asyncio.current_task(), finishing}
    group.cancel()
    await finishing
    assert statuses(await connection.answers()) == [500]


@pytest.mark.parametrize("end", ["shutdown", "drain"])
async def test_a_shutdown_during_a_request_closes_the_connection_with_the_response(end: str) -> None:
    """Seen to fail without the check of `keep_alive`, and at `draining`."""
    server = Server()
    server.remote.released.clear()
    connection = server.connect()
    connection.send(REQUEST)
    await asyncio.sleep(0)
    if end == "drain":
        server.lifecycle.drain()
    else:
        connection.protocol.shutdown()
    server.remote.released.set()
    (answer,) = await connection.answers()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in answer
    assert connection.transport.closed
    assert server.counted(200) == 1


async def test_a_response_waits_until_the_client_reads() -> None:
    """Seen to fail without the check of `write_paused`."""
    server = Server()
    connection = server.connect()
    connection.protocol.pause_writing()
    connection.send(REQUEST)
    await server.predictions.drain()
    for _ in range(10):
        await asyncio.sleep(0)
    assert connection.transport.written == b""
    connection.protocol.resume_writing()
    assert statuses(await connection.answers()) == [200]


async def test_a_connection_with_a_request_in_flight_is_not_idle() -> None:
    """Seen to fail with `response_complete` set from the beginning: the sweep closes the connection."""
    server = Server()
    server.remote.released.clear()
    connection = server.connect()
    connection.send(REQUEST)
    await asyncio.sleep(0)
    connection.protocol.close_if_overdue(asyncio.get_running_loop().time() + 1_000)
    assert not connection.transport.closed
    server.remote.released.set()
    await connection.answers()
    connection.protocol.close_if_overdue(asyncio.get_running_loop().time() + 1_000)
    assert connection.transport.closed
