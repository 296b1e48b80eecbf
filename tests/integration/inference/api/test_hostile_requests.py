"""Requests that are meant to hurt, while others are served: 4xx or a closed connection, little memory, no waiting."""

import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from support.inference.api import FLOWER
from support.inference.models import Exported
from support.inference.process import Service, StartService
from support.waiting import eventually

HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
MAX_GROWTH_KIB = 48 * 1024
# A tenth of it on a quiet machine; what is refused must not be seen by others, a busy test machine may.
P99_SECONDS = 0.25
IDLE_CONNECTIONS = 3_000


def resident_kib(service: Service) -> int:
    """The most memory that the process has had so far."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])


@contextlib.contextmanager
def others(service: Service) -> Iterator[list[float]]:
    """A good client that goes on asking; yields how long each of its answers took."""
    seconds: list[float] = []
    over = threading.Event()
    failed: list[str] = []

    def ask() -> None:
        with httpx.Client(base_url=service.url, timeout=10) as client:
            while not over.is_set():
                started = time.perf_counter()
                answer = client.post("/v1/predict", json={"instances": [FLOWER]})
                seconds.append(time.perf_counter() - started)
                if answer.status_code != 200:
                    failed.append(answer.text)

    client = threading.Thread(target=ask)
    client.start()
    try:
        yield seconds
    finally:
        over.set()
        client.join()
    assert failed == []


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) * 99 // 100]


def send(service: Service, first: bytes, chunk: bytes, times: int) -> bytes:
    """The answer to a request whose body is `chunk` again and again; empty when the connection was closed first."""
    with socket.create_connection(("127.0.0.1", service.port), 10) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(first)
            for _ in range(times):
                connection.sendall(chunk)
        try:
            return connection.recv(65_536)
        except ConnectionError:
            return b""


def chunked_gigabyte(service: Service) -> bytes:
    size = 1024 * 1024
    chunk = b"%x\r\n" % size + b" " * size + b"\r\n"
    return send(service, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk, 1024)


def declared_gigabyte(service: Service) -> bytes:
    return send(service, HEAD + b"Content-Length: 1073741824\r\n\r\n", b" " * 1024 * 1024, 1024)


def deep_json(service: Service) -> bytes:
    body = b'{"instances": ' + b"[" * 200_000
    return send(service, HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body, b"", 0)


def not_finite(service: Service) -> bytes:
    body = b'{"instances": [' + b",".join([b"[NaN,Infinity,-Infinity,1e999]"] * 256) + b"]}"
    return send(service, HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body, b"", 0)


def wrong_shape(service: Service) -> bytes:
    body = b'{"instances": [[[[1]]], "x", {"a": 1}, []]}'
    return send(service, HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body, b"", 0)


def wrong_type(service: Service) -> bytes:
    return send(service, HEAD.replace(b"json", b"x-pickle") + b"Content-Length: 2\r\n\r\n{}", b"", 0)


def gzip_bomb(service: Service) -> bytes:
    body = gzip.compress(bytes(250_000_000))
    return send(service, HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body, b"", 0)


def endless_headers(service: Service) -> bytes:
    return send(service, HEAD, b"X-More: " + b"x" * 65_536 + b"\r\n", 1024)


def no_http(service: Service) -> bytes:
    return send(service, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"", 0)


@pytest.mark.parametrize(
    ("attack", "code", "times"),
    [
        (chunked_gigabyte, b"413", 3),
        (declared_gigabyte, b"413", 3),
        (gzip_bomb, b"413", 3),
        (deep_json, b"422", 20),
        (not_finite, b"422", 20),
        (wrong_shape, b"422", 20),
        (wrong_type, b"415", 20),
        (endless_headers, b"431", 10),
        (no_http, b"400", 20),
    ],
)
def test_a_hostile_request_is_refused_and_does_not_affect_others(
    exported: Exported,
    start_service: StartService,
    attack: Callable[[Service], bytes],
    code: bytes,
    times: int,
) -> None:
    """Seen to fail with the size limits taken out of `body.py` (gigabytes, bomb), and without MAX_HEAD_BYTES."""
    service = start_service(exported("1.0.0"))
    with others(service) as seconds:
        eventually(lambda: len(seconds) > 50)
        before = resident_kib(service)
        answers = [attack(service) for _ in range(times)]
        eventually(lambda: len(seconds) > 150)
    # A client that goes on sending may find the connection reset before it has read the answer.
    assert {answer[9:12] for answer in answers} - {b""} <= {code}
    assert all(b"application/problem+json" in answer for answer in answers if answer)
    assert resident_kib(service) - before < MAX_GROWTH_KIB
    assert p99(seconds) < P99_SECONDS


def test_slow_headers_time_out(exported: Exported, start_service: StartService) -> None:
    """Seen to fail without the sweep in `DrainingServer.on_tick`."""
    service = start_service(exported("1.0.0"), IRIS_HEAD_SECONDS="1")
    with others(service), socket.create_connection(("127.0.0.1", service.port), 10) as connection:
        started = time.monotonic()
        answer = b""
        connection.settimeout(0.1)
        for byte in HEAD * 10:
            connection.sendall(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(65_536)
                break
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"within 1 s" in answer
    assert time.monotonic() - started < 5


def test_slow_bodies_time_out_and_their_connections_are_closed(exported: Exported, start_service: StartService) -> None:
    """Seen to fail without the time limit in `body.py`, and for /healthz without the sweep in `on_tick`."""
    service = start_service(exported("1.0.0"), IRIS_BODY_SECONDS="1")
    for path, code in ((b"/v1/predict", b"408"), (b"/v2/models/iris/infer", b"408"), (b"/healthz", b"405")):
        head = HEAD.replace(b"/v1/predict", path) + b"Content-Length: 100000\r\n\r\n"
        with socket.create_connection(("127.0.0.1", service.port), 10) as connection:
            started = time.monotonic()
            connection.sendall(head)
            answer = drip(connection)
            assert answer[9:12] == code
            assert time.monotonic() - started < 6


def drip(connection: socket.socket) -> bytes:
    """What comes back until the other side hangs up, while a byte is sent every tenth of a second."""
    connection.settimeout(0.1)
    answer = b""
    with contextlib.suppress(ConnectionError):
        for _ in range(150):
            connection.sendall(b" ")
            with contextlib.suppress(TimeoutError):
                part = connection.recv(65_536)
                if not part:
                    return answer
                answer += part
        pytest.fail("the connection is still open after 15 s")
    return answer


def test_thousands_of_idle_connections_are_closed_while_others_are_served(
    exported: Exported, start_service: StartService
) -> None:
    """Seen to fail without the sweep in `DrainingServer.on_tick`."""
    service = start_service(exported("1.0.0"), IRIS_HEAD_SECONDS="3")
    idle: list[socket.socket] = []
    with contextlib.ExitStack() as opened, others(service) as seconds:
        eventually(lambda: len(seconds) > 50)
        before = resident_kib(service)
        for number in range(IDLE_CONNECTIONS):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", service.port), 10))
            # Half of them send the beginning of a request.
            if number % 2:
                connection.sendall(b"POST /v1/predict HTTP/1.1\r\nHost:")
            idle.append(connection)
        eventually(lambda: connections(service) < 50, 30)
        assert all(connection.recv(65_536)[9:12] in {b"", b"408"} for connection in idle)
    assert resident_kib(service) - before < 2 * MAX_GROWTH_KIB
    assert p99(seconds) < P99_SECONDS


def connections(service: Service) -> int:
    """How many connections the process has, give or take the few files that it always has open."""
    return len(list(Path(f"/proc/{service.process.pid}/fd").iterdir())) - 30
