"""The benchmark's closed-loop load: the real wrk with our script against a server that remembers."""

import asyncio
from pathlib import Path

import pytest

from bench.inference.load import Load, LoadError, Target, send
from support.bench.answering import FakeServer, always_good, response, run_fake_server
from support.servers.process import free_port

CONNECTIONS = 4


def bodies(folder: Path, count: int) -> Path:
    path = folder / "bodies"
    path.write_text("".join(f'{{"number": {number}}}\n' for number in range(count)))
    return path


def sent(server: FakeServer, path: Path) -> Load:
    target = Target(f"http://127.0.0.1:{server.port}/v1/predict", "application/json", (("X-Key", "a secret"),))
    return send(target, path, connections=CONNECTIONS, seconds=1)


def test_each_line_is_sent_once_with_the_given_headers(tmp_path: Path) -> None:
    with run_fake_server(always_good) as server:
        load = sent(server, bodies(tmp_path, 200_000))
    assert load.failed == 0
    assert load.all_distinct
    assert len(set(server.bodies)) == len(server.bodies)
    assert load.requests <= len(server.bodies) <= load.requests + CONNECTIONS
    assert load.requests == sum(load.latencies.values())
    assert server.bodies[0].startswith(b'{"number": ')
    assert server.heads[0].startswith(b"POST /v1/predict HTTP/1.1\r\n")
    assert b"X-Key: a secret\r\n" in server.heads[0]
    assert b"Content-Type: application/json\r\n" in server.heads[0]


def test_exhausted_bodies_are_repeated_and_reported(tmp_path: Path) -> None:
    with run_fake_server(always_good) as server:
        load = sent(server, bodies(tmp_path, 10))
    assert not load.all_distinct
    assert len(set(server.bodies)) == 10


def test_every_bad_answer_is_counted(tmp_path: Path) -> None:
    async def sometimes_bad(before: int) -> bytes:
        return response("503 Service Unavailable") if before in {3, 7} else response()

    with run_fake_server(sometimes_bad) as server:
        assert sent(server, bodies(tmp_path, 200_000)).failed == 2


def test_a_connection_that_is_closed_on_a_request_is_counted(tmp_path: Path) -> None:
    async def once_closed(before: int) -> bytes | None:
        return None if before == 5 else response()

    with run_fake_server(once_closed) as server:
        assert sent(server, bodies(tmp_path, 200_000)).failed >= 1


def test_latencies_are_those_of_the_server_without_synthetic_ones(tmp_path: Path) -> None:
    async def one_in_twenty_is_slow(before: int) -> bytes:
        await asyncio.sleep(0.2 if before % 20 == 19 else 0.01)
        return response()

    with run_fake_server(one_in_twenty_is_slow) as server:
        load = sent(server, bodies(tmp_path, 200_000))
    assert 10 <= load.milliseconds(50) < 60
    assert 200 <= load.milliseconds(100) < 400
    slow = sum(count for latency, count in load.latencies.items() if latency >= 100_000)
    # wrk itself reports about seven more for each of these.
    assert slow <= load.requests / 20 + CONNECTIONS


def test_a_missing_server_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="unable to connect"):
        sent(FakeServer(free_port()), bodies(tmp_path, 10))
