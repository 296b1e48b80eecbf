"""The benchmark's closed-loop load: the real wrk with our script against a server that remembers."""

import asyncio
from pathlib import Path

import pytest

from bench.inference.load import Load, LoadError, Target, send
from integration.bench.answering import Answering, always_good, answer, answering
from integration.harness.process import free_port

CONNECTIONS = 4


def bodies(folder: Path, count: int) -> Path:
    path = folder / "bodies"
    path.write_text("".join(f'{{"number": {number}}}\n' for number in range(count)))
    return path


def sent(server: Answering, path: Path) -> Load:
    target = Target(f"http://127.0.0.1:{server.port}/v1/predict", "application/json", (("X-Key", "a secret"),))
    return send(target, path, connections=CONNECTIONS, seconds=1)


def test_each_line_is_sent_once_with_the_headers_that_were_asked_for(tmp_path: Path) -> None:
    with answering(always_good) as server:
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


def test_lines_that_run_out_are_sent_again_and_that_is_said(tmp_path: Path) -> None:
    with answering(always_good) as server:
        load = sent(server, bodies(tmp_path, 10))
    assert not load.all_distinct
    assert len(set(server.bodies)) == 10


def test_every_bad_answer_is_counted(tmp_path: Path) -> None:
    async def sometimes_bad(before: int) -> bytes:
        return answer("503 Service Unavailable") if before in {3, 7} else answer()

    with answering(sometimes_bad) as server:
        assert sent(server, bodies(tmp_path, 200_000)).failed == 2


def test_a_connection_that_is_closed_on_a_request_is_counted(tmp_path: Path) -> None:
    async def once_closed(before: int) -> bytes | None:
        return None if before == 5 else answer()

    with answering(once_closed) as server:
        assert sent(server, bodies(tmp_path, 200_000)).failed >= 1


def test_latencies_are_those_of_the_server_and_none_is_invented(tmp_path: Path) -> None:
    async def one_in_twenty_is_slow(before: int) -> bytes:
        await asyncio.sleep(0.2 if before % 20 == 19 else 0.01)
        return answer()

    with answering(one_in_twenty_is_slow) as server:
        load = sent(server, bodies(tmp_path, 200_000))
    assert 10 <= load.milliseconds(50) < 60
    assert 200 <= load.milliseconds(100) < 400
    slow = sum(count for latency, count in load.latencies.items() if latency >= 100_000)
    # wrk itself reports about seven more for each of these.
    assert slow <= load.requests / 20 + CONNECTIONS


def test_a_server_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="unable to connect"):
        sent(Answering(free_port()), bodies(tmp_path, 10))
