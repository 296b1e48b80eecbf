"""Requests that are served without a task: however they arrive, whatever happens meanwhile, and in any company."""

import asyncio
import io
import logging
import re
from collections.abc import Sequence
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from iris_inference.admission import Gate
from iris_inference.app import create_app
from iris_inference.auth.guard import OpenGuard
from iris_inference.cache import NoCache
from iris_inference.connections import BoundedProtocol, bounded
from iris_inference.feedback import FeedbackService
from iris_inference.lifecycle import Lifecycle
from iris_inference.local_cache import LocalCache
from iris_inference.logs import Lines
from iris_inference.predictions import Prediction
from iris_inference.records import NoRecorder
from iris_inference.request_log import LOGGER
from iris_inference.routing import Room
from iris_inference.runtime import Model, Packed
from iris_inference.schemas import FEATURES
from iris_inference.service import PredictionService
from iris_inference.settings import Settings
from iris_inference.shadow.mirroring import NoMirror
from iris_inference.shadow.side import Shadow
from iris_inference.telemetry import Metrics
from iris_inference.whole_answers import WholeAnswers
from unit.inference import graphs

BODY = b'{"instances": [[1, 1, 1, 1]]}'
HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
REQUEST = HEAD % len(BODY) + BODY
WRONG = HEAD % 2 + b"{}"


class Held(NoCache):
    """A remote cache that knows nothing, and says so when it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.may.set()

    async def get(self, flowers: Sequence[Packed]) -> list[Prediction | None]:
        await self.may.wait()
        return [None] * len(flowers)


class Transport(asyncio.Transport):
    """What a client gets."""

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
        artifact = graphs.artifact(graphs.root())
        settings = Settings(auth="off")
        manifest = artifact.manifest
        self.log = io.BytesIO()
        self.metrics = Metrics(manifest, FEATURES)
        self.remote = Held()
        self.lifecycle = Lifecycle()
        self.predictions = PredictionService(
            Model(artifact, FEATURES),
            (LocalCache(self.metrics, cache_entries), self.remote),
            NoRecorder(),
            self.metrics,
            "r",
        )
        self.lifecycle.loaded()
        self.edge = create_app(
            Room(
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
            Lines(self.log),
        )
        kind = bounded(settings, manifest.version, Gate(1_000), self.edge.hot)
        self.config = uvicorn.Config(self.edge, interface="asgi3", http=kind, lifespan="off", log_config=None)
        self.config.load()
        self.state = ServerState()
        self._kind = kind

    def connect(self) -> "Connection":
        return Connection(self._kind(self.config, self.state, {}), self)

    def counted(self, code: int) -> float | None:
        return self.metrics.registry.get_sample_value("inference_requests_total", {"code": str(code)})

    def timed(self, cache: str) -> float | None:
        return self.metrics.registry.get_sample_value("inference_request_duration_seconds_count", {"cache": cache})


class Connection:
    """The server's end of a connection, and what the client got on it."""

    def __init__(self, protocol: BoundedProtocol, server: Server) -> None:
        self.protocol = protocol
        self.transport = Transport()
        self._server = server
        protocol.connection_made(self.transport)

    def send(self, data: bytes) -> None:
        self.protocol.data_received(data)

    async def answers(self, count: int = 1) -> list[bytes]:
        """So many answers, without what is another one each time. Nothing has come behind them."""
        async with asyncio.timeout(10):
            while len(_whole(self.transport.written)) < count:
                await self.transport.wrote.wait()
                self.transport.wrote.clear()
        for _ in range(10):
            await asyncio.sleep(0)
        found = _whole(self.transport.written)
        assert len(found) == count
        return found


def _whole(written: bytes) -> list[bytes]:
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


async def test_good_requests_need_no_task() -> None:
    """Seen to fail with `HotRoute.take` returning False."""
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
    """Seen to fail with no source told to `Metrics.request`."""
    server = Server(cache_entries=10)
    connection = server.connect()
    for count in (1, 2, 3):
        connection.send(REQUEST)
        await connection.answers(count)
    assert server.state.tasks == set()
    assert (server.timed("none"), server.timed("local"), server.timed("redis")) == (1, 2, 0)


@pytest.mark.parametrize("request_bytes", [REQUEST, WRONG, REQUEST + WRONG + REQUEST], ids=["good", "wrong", "three"])
async def test_a_request_is_answered_alike_wherever_it_is_cut(request_bytes: bytes) -> None:
    """Seen to fail without `on_body` for what was held."""
    server = Server()
    count = request_bytes.count(b"POST")
    whole = server.connect()
    whole.send(request_bytes)
    expected = await whole.answers(count)
    for place in range(1, len(request_bytes), 3):
        for pause in (False, True):
            cut = server.connect()
            cut.send(request_bytes[:place])
            if pause:
                await asyncio.sleep(0)
            cut.send(request_bytes[place:])
            assert [sorted(answer.split(b"\r\n")) for answer in await cut.answers(count)] == [
                sorted(answer.split(b"\r\n")) for answer in expected
            ]


async def test_a_body_that_does_not_come_with_its_head_is_the_applications_affair() -> None:
    """It has a deadline for it. Seen to fail without the look at `_held` at the end of `data_received`."""
    server = Server()
    connection = server.connect()
    connection.send(REQUEST[:-1])
    assert len(server.state.tasks) == 1
    connection.send(REQUEST[-1:])
    assert statuses(await connection.answers()) == [200]


async def test_requests_behind_one_that_is_served_wait_for_their_turn() -> None:
    server = Server()
    server.remote.may.clear()
    connection = server.connect()
    connection.send(REQUEST + WRONG)
    connection.send(REQUEST)
    for _ in range(10):
        await asyncio.sleep(0)
    assert connection.transport.written == b""
    server.remote.may.set()
    assert statuses(await connection.answers(3)) == [200, 422, 200]


async def test_a_request_that_fails_takes_nothing_from_the_others() -> None:
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


async def test_what_nobody_thought_of_is_answered_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen to fail without the `except` in `Exchange.succeed`: the others get no answer."""
    server = Server()
    write = WholeAnswers.bytes_of
    first = iter([True])

    def fail_once(self: WholeAnswers, *told: Any) -> bytes:
        if next(first, False):
            raise RuntimeError("nobody thought of it")
        return write(self, *told)

    monkeypatch.setattr(WholeAnswers, "bytes_of", fail_once)
    unlucky, lucky = server.connect(), server.connect()
    for connection in (unlucky, lucky):
        connection.send(REQUEST)
    assert statuses(await unlucky.answers() + await lucky.answers()) == [500, 200]
    assert (server.counted(500), server.counted(200)) == (1, 1)


async def test_who_goes_away_is_not_written_to_and_the_others_are() -> None:
    """Seen to fail without the look at `disconnected`."""
    server = Server()
    server.remote.may.clear()
    gone, stays = server.connect(), server.connect()
    for connection in (gone, stays):
        connection.send(REQUEST)
    await asyncio.sleep(0)
    gone.protocol.connection_lost(ConnectionResetError())
    server.remote.may.set()
    assert statuses(await stays.answers()) == [200]
    assert gone.transport.written == b""
    await server.predictions.finish()
    assert server.counted(200) == 2


async def test_the_end_waits_for_those_who_are_served() -> None:
    """Seen to fail with `finish` that returns at once."""
    server = Server()
    server.remote.may.clear()
    server.connect().send(REQUEST)
    await asyncio.sleep(0)
    finishing = asyncio.create_task(server.predictions.finish())
    await asyncio.sleep(0)
    assert not finishing.done()
    server.remote.may.set()
    await finishing
    assert server.counted(200) == 1


async def test_the_end_comes_also_when_work_was_cancelled() -> None:
    """Seen to fail with `finish` that is cancelled with it."""
    server = Server()
    server.remote.may.clear()
    connection = server.connect()
    connection.send(REQUEST)
    await asyncio.sleep(0)
    finishing = asyncio.create_task(server.predictions.finish())
    await asyncio.sleep(0)
    (group,) = asyncio.all_tasks() - {asyncio.current_task(), finishing}
    group.cancel()
    await finishing
    assert statuses(await connection.answers()) == [500]


@pytest.mark.parametrize("end", ["shutdown", "drain"])
async def test_an_end_that_comes_meanwhile_is_told_with_the_answer(end: str) -> None:
    """Seen to fail without the look at `keep_alive`, and at `draining`."""
    server = Server()
    server.remote.may.clear()
    connection = server.connect()
    connection.send(REQUEST)
    await asyncio.sleep(0)
    if end == "drain":
        server.lifecycle.drain()
    else:
        connection.protocol.shutdown()
    server.remote.may.set()
    (answer,) = await connection.answers()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in answer
    assert connection.transport.closed
    assert server.counted(200) == 1


async def test_an_answer_waits_until_the_client_reads() -> None:
    """Seen to fail without the look at `write_paused`."""
    server = Server()
    connection = server.connect()
    connection.protocol.pause_writing()
    connection.send(REQUEST)
    await server.predictions.finish()
    for _ in range(10):
        await asyncio.sleep(0)
    assert connection.transport.written == b""
    connection.protocol.resume_writing()
    assert statuses(await connection.answers()) == [200]


async def test_a_request_in_flight_is_no_rest() -> None:
    """Seen to fail with `response_complete` set from the beginning: the sweep closes the connection."""
    server = Server()
    server.remote.may.clear()
    connection = server.connect()
    connection.send(REQUEST)
    await asyncio.sleep(0)
    connection.protocol.end_if_overdue(asyncio.get_running_loop().time() + 1_000)
    assert not connection.transport.closed
    server.remote.may.set()
    await connection.answers()
    connection.protocol.end_if_overdue(asyncio.get_running_loop().time() + 1_000)
    assert connection.transport.closed
