"""A receiver for Alertmanager's webhook: stores the alerts, by the path that they were sent to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# How long the end of a test waits for the server to notice.
_STOP_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class ReceivedAlert:
    """One alert of one notification."""

    receiver: str
    name: str
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]


class Webhook:
    """The alerts received so far, and waiting for further ones."""

    def __init__(self, address: str, port: int) -> None:
        self.url = f"http://{address}:{port}"
        self._alerts: list[ReceivedAlert] = []
        self._notifications: list[dict[str, Any]] = []
        self._updated = threading.Condition()

    def receive(self, receiver: str, notification: dict[str, Any]) -> None:
        with self._updated:
            self._notifications.append(notification)
            self._alerts.extend(
                ReceivedAlert(
                    receiver, alert["labels"]["alertname"], alert["status"], alert["labels"], alert["annotations"]
                )
                for alert in notification["alerts"]
            )
            self._updated.notify_all()

    def alerts(self) -> list[ReceivedAlert]:
        with self._updated:
            return list(self._alerts)

    def notifications(self) -> list[dict[str, Any]]:
        with self._updated:
            return list(self._notifications)

    def wait_for(self, holds: Callable[[list[ReceivedAlert]], bool], seconds: float) -> list[ReceivedAlert]:
        """Wait until `holds` is true of the alerts; AssertionError, which lists them, after so many seconds."""
        with self._updated:
            if not self._updated.wait_for(lambda: holds(self._alerts), seconds):
                listed = "\n".join(f"{each.receiver}: {each.name} {each.status} {each.labels}" for each in self._alerts)
                raise AssertionError(f"not received within {seconds} s; received alerts:\n{listed}")
            return list(self._alerts)

    def wait_for_firing(self, name: str, seconds: float, **labels: str) -> ReceivedAlert:
        """Wait for an alert with these labels among others."""

        def matches(alert: ReceivedAlert) -> bool:
            return (alert.name, alert.status) == (name, "firing") and labels.items() <= alert.labels.items()

        return next(filter(matches, self.wait_for(lambda alerts: any(map(matches, alerts)), seconds)))


@contextmanager
def run_webhook(address: str, port: int = 0) -> Iterator[Webhook]:
    """A webhook that listens on the address for the length of the block."""
    taken: list[Webhook] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            taken[0].receive(self.path.removeprefix("/"), body)
            self.send_response(HTTPStatus.OK)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing: pytest shows the alerts."""

    server = ThreadingHTTPServer((address, port), Handler)
    server.daemon_threads = True
    taken.append(Webhook(address, server.server_address[1]))
    thread = threading.Thread(target=server.serve_forever, args=(_STOP_POLL_SECONDS,), daemon=True)
    thread.start()
    try:
        yield taken[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
