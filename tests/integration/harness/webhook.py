"""A receiver of Alertmanager's webhook: keeps what it is sent, by the path that it was sent to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Told:
    """One alert of one notification."""

    receiver: str
    name: str
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]


class Webhook:
    """What was told so far; waiting for more is waiting for an event."""

    def __init__(self, address: str, port: int) -> None:
        self.url = f"http://{address}:{port}"
        self._told: list[Told] = []
        self._notifications: list[dict[str, Any]] = []
        self._news = threading.Condition()

    def take(self, receiver: str, notification: dict[str, Any]) -> None:
        with self._news:
            self._notifications.append(notification)
            self._told.extend(
                Told(receiver, alert["labels"]["alertname"], alert["status"], alert["labels"], alert["annotations"])
                for alert in notification["alerts"]
            )
            self._news.notify_all()

    def told(self) -> list[Told]:
        with self._news:
            return list(self._told)

    def notifications(self) -> list[dict[str, Any]]:
        with self._news:
            return list(self._notifications)

    def until(self, holds: Callable[[list[Told]], bool], seconds: float) -> list[Told]:
        """Wait until what was told is as awaited; AssertionError, with all of it, after so many seconds."""
        with self._news:
            if not self._news.wait_for(lambda: holds(self._told), seconds):
                listed = "\n".join(f"{told.receiver}: {told.name} {told.status} {told.labels}" for told in self._told)
                raise AssertionError(f"not told in {seconds} s; told was:\n{listed}")
            return list(self._told)

    def until_firing(self, name: str, seconds: float, **labels: str) -> Told:
        """Wait for an alert with these labels among others."""

        def wanted(told: Told) -> bool:
            return (told.name, told.status) == (name, "firing") and labels.items() <= told.labels.items()

        return next(filter(wanted, self.until(lambda told: any(map(wanted, told)), seconds)))


@contextmanager
def listening(address: str, port: int = 0) -> Iterator[Webhook]:
    """A webhook that listens on the address for the length of the block."""
    taken: list[Webhook] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            taken[0].take(self.path.removeprefix("/"), body)
            self.send_response(HTTPStatus.OK)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing: pytest shows what was told."""

    server = ThreadingHTTPServer((address, port), Handler)
    server.daemon_threads = True
    taken.append(Webhook(address, server.server_address[1]))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield taken[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
