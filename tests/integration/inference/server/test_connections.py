"""More connections than the limit, with real sockets: active ones go on, probes get through, the rest are evicted."""

import contextlib
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import pytest

from iris_inference import metric_names
from iris_inference.server.connection_limiter import PROBE_BURST, PROBE_SLOTS
from support.inference.api import FLOWER, NO_CERTIFICATES, Api
from support.inference.models import Exported
from support.inference.process import Service, StartService
from support.inference.serving import Serve
from support.waiting import eventually

FLOOD = 10_000
LIMIT = 500
BODY = b'{"instances": [[5.1, 3.5, 1.4, 0.2]]}'
HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
    BODY
)
PROBE = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
def many_files() -> Iterator[None]:
    """The other end of all those connections is this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, FLOOD + 1_000)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Callers:
    """One client that keeps its connection and one that probes on a new one each time, until the block ends."""

    def __init__(self, service: Api) -> None:
        self.answers: list[int] = []
        self.probes: list[int] = []
        self._service = service
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._predict), threading.Thread(target=self._probe)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _predict(self) -> None:
        with httpx.Client(base_url=self._service.url, timeout=20) as client:
            while not self._over.wait(0.005):
                self.answers.append(client.post("/v1/predict", json={"instances": [FLOWER]}).status_code)

    def _probe(self) -> None:
        # As the kubelet does it, on a new connection each; with more time, for a busy test machine.
        while not self._over.wait(0.05):
            self.probes.append(httpx.get(f"{self._service.url}/readyz", timeout=20, verify=NO_CERTIFICATES).status_code)


@pytest.mark.usefixtures("many_files")
def test_ten_thousand_idle_connections_do_not_affect_clients(exported: Exported, start_service: StartService) -> None:
    """Seen to fail without the limiter: the process has all 10,000."""
    service = start_service(exported("1.0.0"), IRIS_MAX_CONNECTIONS=str(LIMIT), IRIS_HEAD_SECONDS="300")
    with Callers(service) as callers, contextlib.ExitStack() as opened:
        eventually(lambda: len(callers.answers) > 20 and len(callers.probes) > 5)
        before = resident_kib(service)
        for number in range(FLOOD):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", service.port), 10))
            if number % 3 == 0:
                connection.sendall(b"POST /v1/predict HTTP/1.1\r\nHost:")
        answered = len(callers.answers), len(callers.probes)
        eventually(lambda: len(callers.answers) > answered[0] + 20 and len(callers.probes) > answered[1] + 5, 60)
        assert open_connections(service) <= LIMIT + PROBE_SLOTS + PROBE_BURST
        assert service.metric(metric_names.CONNECTIONS) <= LIMIT + PROBE_SLOTS + PROBE_BURST
        assert service.metric(metric_names.CONNECTIONS_TURNED_AWAY, reason="idle") > 0
        assert resident_kib(service) - before < 64 * 1024
    assert set(callers.answers) == {200}
    assert set(callers.probes) == {200}


def test_when_all_connections_are_active_the_next_is_refused_and_none_is_disturbed(
    exported: Exported, serve: Serve
) -> None:
    service = serve(exported("1.0.0"), max_connections=3, body_seconds=60)
    with contextlib.ExitStack() as opened:
        served = [connected(service, opened) for _ in range(3)]
        for connection in served:
            connection.sendall(HEAD)
        # Answered after the heads above were read: the application waits for their bodies.
        eventually(lambda: answer(service, PROBE).startswith(b"HTTP/1.1 200"))

        refused = answer(service, HEAD + BODY)
        assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        for expected in (b"connection: close", b"retry-after: 1", b"x-request-id: ", b"x-model-version: 1.0.0"):
            assert expected in refused
        assert b"application/problem+json" in refused
        assert b"all connections are taken" in refused
        probed = answer(service, PROBE)
        assert probed.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"connection: close" in probed

        for connection in served:
            connection.sendall(BODY)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 OK\r\n")
        # They are idle now, so a slot is free after a second, at the cost of one of them.
        closing = HEAD.replace(b"Host: x", b"Host: x\r\nConnection: close") + BODY
        eventually(lambda: answer(service, closing).startswith(b"HTTP/1.1 200 OK\r\n"))
        eventually(lambda: sum(map(readable, served)) == 1)
        for connection in (connection for connection in served if not readable(connection)):
            connection.sendall(HEAD + BODY)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_probes_get_through_although_idle_connections_hold_their_slots(exported: Exported, serve: Serve) -> None:
    """Seen to fail without `_evict_waiting_for_probe`."""
    service = serve(exported("1.0.0"), max_connections=1, body_seconds=60)
    with contextlib.ExitStack() as opened:
        served = connected(service, opened)
        served.sendall(HEAD)
        eventually(lambda: answer(service, PROBE).startswith(b"HTTP/1.1 200"))
        silent = [connected(service, opened) for _ in range(PROBE_SLOTS + 10)]
        eventually(lambda: answer(service, PROBE).startswith(b"HTTP/1.1 200") and readable(silent[9]))
        # The oldest were evicted, and no more than needed.
        assert [readable(connection) for connection in silent] == [True] * 11 + [False] * (PROBE_SLOTS - 1)
        served.sendall(BODY)
        assert served.recv(65_536).startswith(b"HTTP/1.1 200 OK\r\n")


def readable(connection: socket.socket) -> bool:
    """Whether there is something to read, which for a silent connection can only be its end."""
    return bool(select.select([connection], [], [], 0)[0])


def connected(service: Api, opened: contextlib.ExitStack) -> socket.socket:
    return opened.enter_context(socket.create_connection(("127.0.0.1", service.port), 10))


def answer(service: Api, request: bytes) -> bytes:
    """Everything that is received until the service closes the connection."""
    found = b""
    with (
        socket.create_connection(("127.0.0.1", service.port), 10) as connection,
        contextlib.suppress(ConnectionError),
    ):
        connection.sendall(request)
        while part := connection.recv(65_536):
            found += part
    return found


def open_connections(service: Service) -> int:
    """How many connections the process has by its files, without those that it always has."""
    files = Path(f"/proc/{service.process.pid}/fd").iterdir()
    sockets = sum(str(file.readlink()).startswith("socket:") for file in files if file.is_symlink())
    return sockets - 5


def resident_kib(service: Service) -> int:
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])


def test_a_connection_without_another_request_is_closed(exported: Exported, start_service: StartService) -> None:
    """Seen to fail without the sweep in `DrainingServer.on_tick`, and without the check of idle connections."""
    service = start_service(exported("1.0.0"), IRIS_KEEP_ALIVE_SECONDS="1")
    with socket.create_connection(("127.0.0.1", service.port), 10) as connection:
        for _ in range(2):
            # A pause that is shorter than the keep-alive time closes nothing.
            assert not select.select([connection], [], [], 0.5)[0]
            connection.sendall(HEAD + BODY)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        answered = time.monotonic()
        assert connection.recv(65_536) == b""
        assert 0.9 < time.monotonic() - answered < 5
