"""Callers who remember what they were promised."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx

from contract.inference.api import FLOWER, Api
from integration.inference.waiting import eventually

# Enough to have requests in flight at any moment, and gentle with the machine.
_CALLERS: Final = 4
_PAUSE_SECONDS: Final = 0.005


class Load:
    """Requests with ids of their own. An answer with 200 is an acknowledgement: its predictions must be recorded."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.acknowledged: list[str] = []
        self.refused: dict[str, int] = {}
        self.lost: list[str] = []

    def more(self, requests: int) -> None:
        """Returns once so many more requests have been acknowledged."""
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
            self.refused[name] = answer.status_code


@contextmanager
def load(service: Api, name: str = "load", rows: int = 1) -> Iterator[Load]:
    """Calls the service until the block ends."""
    made = Load(rows)
    over = threading.Event()

    def calls(caller: int) -> None:
        with httpx.Client(base_url=service.url, timeout=20) as client:
            for number in itertools.count():
                if over.wait(_PAUSE_SECONDS):
                    return
                made.call(client, f"{name}-{caller}-{number}")

    callers = [threading.Thread(target=calls, args=(caller,)) for caller in range(_CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield made
    finally:
        over.set()
        for caller in callers:
            caller.join(30)
