"""What a query may cost: time, memory, and the places of other releases."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from iris_operator.adapters.prometheus.client import MAX_RESULT_BYTES, PrometheusClient, TooMuch
from iris_operator.engine.ports import MetricsUnavailable

DEADLINE = 1.0
# Far more than any of it takes: a test that would wait for ever ends.
PATIENCE = 20.0
NUMBER = json.dumps({"status": "success", "data": {"result": [{"metric": {}, "value": [1, "42"]}]}}).encode()


class Server:
    """A server on a real socket. Queries with `drip` in them get a byte at a time, without an end."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.body = NUMBER
        self.content_type = "application/json"
        self.drip = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b" " * 10**6
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._stopped.set()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            request = connection.recv(65536)
            if not request:
                return
            path = request.split(b" ")[1].decode()
            self.paths.append(path)
            try:
                if "drip" not in path:
                    head = f"HTTP/1.1 200 OK\r\nContent-Type: {self.content_type}\r\nConnection: close\r\n\r\n"
                    connection.sendall(head.encode() + self.body)
                    return
                for byte in self.drip:
                    connection.sendall(bytes([byte]))
                    if self._stopped.wait(0.01):
                        return
            except OSError:
                return


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server()) as server:
        yield server


def client(server: Server, **options: Any) -> PrometheusClient:
    return PrometheusClient(server.url, timeout_seconds=DEADLINE, **options)


def number(client: PrometheusClient, query: str = "up") -> float | None:
    return asyncio.run(asyncio.wait_for(client.number(query, 1.0), PATIENCE))


@pytest.mark.parametrize(
    "drip",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b" " * 10**6,
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b" " * 10**6,
        b"HTTP/1.1 200 OK\r\n" + b"X-Header: 1\r\n" * 10**5,
    ],
    ids=["body", "body of known length", "headers"],
)
def test_a_result_that_comes_byte_by_byte_ends_at_the_deadline(server: Server, drip: bytes) -> None:
    server.drip = drip
    with pytest.raises(TooMuch, match=r"not answered completely in 1 s"):
        number(client(server), "drip")


def test_slow_queries_leave_no_thread_behind(server: Server) -> None:
    slow = client(server)
    for _ in range(3):
        with pytest.raises(TooMuch):
            number(slow, "drip")
    slow._threads.shutdown(wait=True)  # returns only when none of them waits for a server


def test_slow_queries_of_others_are_put_in_a_lane_of_their_own(server: Server) -> None:
    shared = client(server)

    async def ask(query: str) -> float | str | None:
        try:
            return await shared.number(query, 1.0)
        except MetricsUnavailable as error:
            return str(error)

    async def two_intervals() -> list[float | str | None]:
        slow = [f"drip{number}" for number in range(4)]
        await asyncio.gather(*map(ask, slow))
        shared._seconds = PATIENCE  # in the second one they hold their places until all others have been answered
        running = [asyncio.create_task(ask(query)) for query in slow]
        await asyncio.sleep(0)
        fast = [await ask(f"up{number}") for number in range(20)]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        return fast

    assert asyncio.run(two_intervals()) == [42.0] * 20


def test_a_query_without_a_place_in_time_is_an_error_that_says_so(server: Server) -> None:
    shared = client(server)

    async def crowd() -> list[BaseException | float | None]:
        return await asyncio.gather(*(shared.number(f"drip{n}", 1.0) for n in range(12)), return_exceptions=True)

    failures = [str(each) for each in asyncio.run(asyncio.wait_for(crowd(), PATIENCE))]
    assert sum("took all places" in failure for failure in failures) >= 4


def test_a_result_beyond_the_limit_is_not_read_to_its_end_and_the_limit_is_named(server: Server) -> None:
    row = json.dumps({"metric": {"pod": "x" * 1000}, "values": [[1, "1"]]})
    server.body = ('{"data":{"result":[' + ",".join([row] * 5000) + "]}}").encode()
    assert len(server.body) > MAX_RESULT_BYTES
    with pytest.raises(TooMuch, match=f"larger than the limit of {MAX_RESULT_BYTES:,} bytes"):
        asyncio.run(PrometheusClient(server.url, timeout_seconds=PATIENCE).matrix("x[1m]", 1.0))
    allowed = PrometheusClient(server.url, timeout_seconds=PATIENCE, max_result_bytes=2 * len(server.body))
    assert len(asyncio.run(allowed.matrix("x[1m]", 1.0))) == 5000


@pytest.mark.parametrize("ending", ["", "/", "//"])
def test_slashes_at_the_end_of_the_address_are_not_asked_for(server: Server, ending: str) -> None:
    server.url += ending
    assert number(client(server)) == 42.0
    assert server.paths[0].startswith("/api/v1/query?")


def test_a_path_in_the_address_is_kept(server: Server) -> None:
    server.url += "/prometheus/"
    assert number(client(server)) == 42.0
    assert server.paths[0].startswith("/prometheus/api/v1/query?")


def test_a_web_page_with_status_200_is_an_error_that_says_so(server: Server) -> None:
    server.body, server.content_type = b"<!DOCTYPE html><html>Sign in</html>", "text/html; charset=utf-8"
    with pytest.raises(MetricsUnavailable, match="text/html instead of JSON; is its address that of Prometheus"):
        number(client(server))


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"data":', b'{"data":{}}', b'{"status":"error"}', b'{"data":{"result":[{}]}}']
)
def test_json_that_is_no_result_is_an_error(server: Server, body: bytes) -> None:
    server.body = body
    with pytest.raises(MetricsUnavailable):
        number(client(server))


def test_a_partial_result_is_an_error(server: Server) -> None:
    server.body = NUMBER[:-1] + b',"warnings":["a store is away"]}'
    with pytest.raises(MetricsUnavailable, match="a partial result"):
        number(client(server))


@pytest.mark.parametrize(("text", "value"), [("+Inf", float("inf")), ("-Inf", float("-inf")), ("NaN", None)])
def test_infinite_numbers_are_numbers_and_nan_is_none(server: Server, text: str, value: float | None) -> None:
    server.body = NUMBER.replace(b"42", text.encode())
    assert number(client(server)) == value


def test_a_cancelled_query_frees_its_place(server: Server) -> None:
    shared = client(server)

    async def cancel_all_and_ask() -> float | None:
        running = [asyncio.create_task(shared.number(f"drip{n}", 1.0)) for n in range(4)]
        await asyncio.sleep(0)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        return await shared.number("up", 1.0)

    assert asyncio.run(cancel_all_and_ask()) == 42.0
