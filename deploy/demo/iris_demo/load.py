"""Open-loop load: a constant rate of predictions, set by the clock and never by the answers.

For a share of them the true label is sent back some seconds later.

Runs as a process of its own (``python -m iris_demo.load``) so that drawing and watching cannot
delay a request. It writes one JSON line of finished samples several times a second to standard
output and stops at its bounds, on SIGTERM, or when standard input closes (the parent is gone).
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import os
import signal
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import cycle, islice
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from iris_demo.labels import Labeller, Prediction, feedback_url
from iris_demo.rows import Flower, varied_flowers
from iris_demo.samples import Batch, Kind, Label, Sample, encode

FLUSH_SECONDS = 0.2
JSON = {"Content-Type": "application/json"}
HIGHEST_RATE = 2000  # what one process of Python can hold without falling behind its own clock
# Below the 180 s after which Traefik closes an idle connection, so that a request never meets a
# connection that the server is about to close.
KEEPALIVE_SECONDS = 60.0


# Not an argument: those of a process are for everybody to see.
KEY_VARIABLE = "IRIS_API_KEY"


@dataclass(frozen=True)
class Load:
    """What to send: ``rate`` in requests/s, bounds in seconds and requests, ``timeout`` in s, the API ``key``.

    ``authority`` is the file of the certificate that an HTTPS address must be signed by; empty: the machine's own.
    For a share ``labels`` of the answers the true label follows ``label_delay`` s later. The requests ask
    for so many ``flowers`` in turn, again and again; 0: each asks for another one.
    """

    url: str
    host: str
    rate: float
    seconds: float
    requests: int
    timeout: float = 10.0
    seed: int = 1
    authority: str = ""
    labels: float = 0.0
    label_delay: float = 2.0
    flowers: int = 0
    key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.rate <= HIGHEST_RATE:
            raise ValueError(f"rate must be above 0 and at most {HIGHEST_RATE} requests/s, not {self.rate}")
        if self.seconds <= 0 or self.requests <= 0 or self.timeout <= 0:
            raise ValueError("seconds, requests and timeout must be above 0")
        if not 0 <= self.labels <= 1 or self.label_delay < 0:
            raise ValueError("labels must be a share from 0 to 1, and their delay not below 0")
        if self.flowers < 0:
            raise ValueError(f"flowers must not be below 0, and not {self.flowers}")
        refuse_other_machines(self.url)

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Host": self.host} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})


def refuse_other_machines(url: str) -> None:
    """Raise ValueError unless ``url`` is a loopback address: load goes nowhere else."""
    hostname = urlsplit(url).hostname or ""
    try:
        loopback = ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        loopback = hostname == "localhost"
    if not loopback:
        raise ValueError(f"load is sent to loopback only, not to {hostname or url!r}")


def connect(load: Load, **options: Any) -> aiohttp.ClientSession:
    """A session for requests to the target of ``load``: over TLS they are for its host, whatever the address."""
    trusted = ssl.create_default_context(cafile=load.authority or None)
    # No limit on connections: waiting for a free one would slow the clock down. What bounds them
    # is rate x timeout.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS, ssl=trusted)
    return aiohttp.ClientSession(connector=connector, headers=load.headers, **options)


def flowers_of(load: Load) -> Iterator[Flower]:
    """What ``load`` asks for, in its order."""
    flowers = varied_flowers(load.seed)
    return cycle(islice(flowers, load.flowers)) if load.flowers else flowers


async def generate(
    load: Load,
    stop: asyncio.Event,
    record: Callable[[Sample], None],
    labelled: Callable[[Label], None] = lambda _: None,
) -> int:
    """Send until a bound is reached or ``stop`` is set; return how many requests were sent.

    Every request sent has been handed to ``record`` once when this returns, and every label sent to ``labelled``.
    """
    flowers = flowers_of(load)
    timeout = aiohttp.ClientTimeout(total=load.timeout)
    sent = 0
    async with (
        connect(load, timeout=timeout) as session,
        asyncio.TaskGroup() as requests,
    ):
        labeller = Labeller(
            session,
            feedback_url(load.url),
            load.host,
            share=load.labels,
            delay=load.label_delay,
            seed=load.seed,
            record=labelled,
        )
        start_wall, start = time.time(), time.monotonic()
        while sent < load.requests and sent / load.rate < load.seconds:
            due = sent / load.rate
            if await _stopped_before(stop, start + due - time.monotonic()):
                break
            sending = _send(session, load, next(flowers), start_wall + due, start + due, record)
            requests.create_task(_and_label(sending, labeller, stop) if labeller.chosen() else sending)
            sent += 1
    return sent


async def _and_label(sending: Awaitable[Prediction | None], labeller: Labeller, stop: asyncio.Event) -> None:
    prediction = await sending
    if prediction is not None:
        await labeller.tell(prediction, stop)


async def _stopped_before(stop: asyncio.Event, seconds: float) -> bool:
    """Wait until the next request is due; True when stopped before that."""
    if seconds > 0:
        try:
            await asyncio.wait_for(stop.wait(), seconds)
        except TimeoutError:
            return False
    return stop.is_set()


async def _send(
    session: aiohttp.ClientSession,
    load: Load,
    flower: Flower,
    due_wall: float,
    due: float,
    record: Callable[[Sample], None],
) -> Prediction | None:
    """Ask once; the prediction when there is one."""
    status, version, request_id = 0, "", ""
    body = json.dumps({"instances": [flower.measured]}).encode()
    try:
        async with session.post(load.url, data=body, headers=JSON, server_hostname=load.host) as answer:
            status = answer.status
            version = answer.headers.get("X-Model-Version", "")
            request_id = answer.headers.get("X-Request-ID", "")
            await answer.read()
            kind = Kind.OK if status < HTTPStatus.MULTIPLE_CHOICES else Kind.STATUS
    except TimeoutError:
        kind = Kind.TIMEOUT
    except (aiohttp.ClientError, OSError):
        kind = Kind.CONNECT
    record(Sample(due_wall, time.monotonic() - due, kind, status, version))
    return Prediction(request_id, version, flower.species) if kind is Kind.OK else None


async def _run(load: Load) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Standard input carries no data: its end says that the parent is gone or wants an end.
    loop.add_reader(sys.stdin.fileno(), stop.set)
    news = Batch([], [])
    flusher = asyncio.create_task(_flush_regularly(news))
    try:
        await generate(load, stop, news.samples.append, news.labels.append)
    finally:
        flusher.cancel()
        _flush(news)


async def _flush_regularly(news: Batch) -> None:
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        _flush(news)


def _flush(news: Batch) -> None:
    if news.samples or news.labels:
        sys.stdout.write(encode(*news) + "\n")
        sys.stdout.flush()
        news.samples.clear()
        news.labels.clear()


def main(arguments: list[str] | None = None) -> int:
    """The generator's process."""
    parser = argparse.ArgumentParser(
        prog="python -m iris_demo.load", description=__doc__, epilog=f"The API key is taken from ${KEY_VARIABLE}."
    )
    parser.add_argument("--url", default="https://127.0.0.1:30443/v1/predict")
    parser.add_argument("--host", default="iris.example.com", help="Host header")
    parser.add_argument("--rate", type=float, default=60.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60.0, help="stop after this long")
    parser.add_argument("--requests", type=int, default=100_000, help="stop after this many")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds a request may take")
    parser.add_argument("--seed", type=int, default=1, help="which rows are drawn")
    parser.add_argument("--authority", default="", help="file with the certificate to trust")
    parser.add_argument("--labels", type=float, default=0.0, help="share of the answers whose truth is sent back")
    parser.add_argument("--label-delay", type=float, default=2.0, help="seconds from an answer to its label")
    parser.add_argument("--flowers", type=int, default=0, help="so many different ones; 0: no two are alike")
    options = parser.parse_args(arguments)
    try:
        load = Load(**vars(options), key=os.environ.get(KEY_VARIABLE, ""))
    except ValueError as error:
        parser.error(str(error))
    asyncio.run(_run(load))
    return 0


if __name__ == "__main__":
    sys.exit(main())
