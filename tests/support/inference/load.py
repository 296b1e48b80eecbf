"""Load on a service, with a record of the acknowledged requests."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx

from support.inference.api import FLOWER, Api
from support.waiting import eventually

# Enough to have requests in flight at any time, without overloading the machine.
_CALLERS: Final = 4
_PAUSE_SECONDS: Final = 0.005


class Load:
    """Requests with unique ids. A 200 is an acknowledgement: the predictions must be recorded."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.acknowledged: list[str] = []
        self.rejected: dict[str, int] = {}
        self.lost: list[str] = []

    def await_acknowledged(self, requests: int) -> None:
        """Wait until `requests` further requests are acknowledged."""
        wanted = len(self.acknowledged) + requests
        eventually(lambda: len(self.acknowledged) >= wanted, seconds=60)

    def call(self, client: httpx.Client, name: str) -> None:
        body = {"instances": [FLOWER] * self.rows}
        try:
            answer = client.post("/v1/predict", json=body, headers={"X-Request-ID": name})
        except httpx.TransportError:
            self.lost.append(name)
            return
        if answer.status_code == 200:
            self.acknowledged.append(name)
        else:
            self.rejected[name] = answer.status_code


@contextmanager
def load(service: Api, name: str = "load", rows: int = 1) -> Iterator[Load]:
    """Send requests to the service until the block ends."""
    traffic = Load(rows)
    stop = threading.Event()

    def run(caller: int) -> None:
        with httpx.Client(base_url=service.url, timeout=20) as client:
            for number in itertools.count():
                if stop.wait(_PAUSE_SECONDS):
                    return
                traffic.call(client, f"{name}-{caller}-{number}")

    callers = [threading.Thread(target=run, args=(caller,)) for caller in range(_CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield traffic
    finally:
        stop.set()
        for caller in callers:
            caller.join(30)
