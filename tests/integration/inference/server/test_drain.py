import os
import signal
import socket
import threading
import time

import httpx

from iris_inference import metric_names
from support.inference.api import FLOWER
from support.inference.models import Exported
from support.inference.process import Service, StartService


def test_the_shutdown_is_announced_before_it_happens(exported: Exported, start_service: StartService) -> None:
    service = start_service(exported("1.0.0"), IRIS_DRAIN_SECONDS="2")
    os.kill(service.process.pid, signal.SIGTERM)
    _wait_until_unready(service)
    answer = service.predict(FLOWER)
    assert answer.status_code == 200
    assert answer.headers["Connection"] == "close"
    assert service.client.get("/readyz").json()["detail"] == "the service is draining"
    assert service.client.get("/healthz").status_code == 200
    assert service.metric(metric_names.REQUESTS, code="200") == 1
    assert service.process.wait(10) == 0


def test_a_request_in_flight_is_answered(exported: Exported, start_service: StartService) -> None:
    service = start_service(exported("1.0.0"))
    body = b'{"instances": [[5.1, 3.5, 1.4, 0.2]]}'
    head = (
        f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port), 10) as connection:
        connection.sendall(head.encode() + body[:10])
        # Answered after the connection above was accepted, so that one is in the server's hands.
        assert service.ready()
        os.kill(service.process.pid, signal.SIGTERM)
        _wait_until_closed(service)
        connection.sendall(body[10:])
        assert b"HTTP/1.1 200 OK" in connection.recv(65_536)
    assert service.process.wait(10) == 0


def test_no_request_is_lost_by_a_client_that_follows_the_connection_header(
    exported: Exported, start_service: StartService
) -> None:
    service = start_service(exported("1.0.0"), IRIS_DRAIN_SECONDS="1")
    codes: list[int] = []
    sent_first = threading.Event()

    def until_unready() -> None:
        with httpx.Client(base_url=service.url) as client:
            while True:
                codes.append(client.post("/v1/predict", json={"instances": [FLOWER]}).status_code)
                sent_first.set()
                if client.get("/readyz").status_code != 200:
                    return

    clients = [threading.Thread(target=until_unready) for _ in range(4)]
    for client in clients:
        client.start()
    assert sent_first.wait(10)
    os.kill(service.process.pid, signal.SIGTERM)
    for client in clients:
        client.join(10)
    assert service.process.wait(10) == 0
    assert set(codes) == {200}


def test_an_idle_connection_does_not_delay_the_shutdown(exported: Exported, start_service: StartService) -> None:
    service = start_service(exported("1.0.0"))
    with socket.create_connection(("127.0.0.1", service.port), 10) as idle:
        assert service.predict(FLOWER).status_code == 200
        started = time.monotonic()
        os.kill(service.process.pid, signal.SIGTERM)
        assert service.process.wait(10) == 0
        assert time.monotonic() - started < 5
        assert idle.recv(1) == b""


def _wait_until_unready(service: Service) -> None:
    deadline = time.monotonic() + 5
    while service.client.get("/readyz").status_code == 200:
        assert time.monotonic() < deadline


def _wait_until_closed(service: Service) -> None:
    deadline = time.monotonic() + 5
    while service.ready():
        assert time.monotonic() < deadline
