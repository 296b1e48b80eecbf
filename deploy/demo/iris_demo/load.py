"""Open-loop load: predictions at a constant rate, independent of the responses.

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

from iris_demo.addresses import PREDICT_URL
from iris_demo.dataset import Instance, sample_instances
from iris_demo.labels import FeedbackSender, Prediction, feedback_url
from iris_demo.samples import Batch, Kind, Label, Sample, encode

FLUSH_SECONDS = 0.2
JSON = {"Content-Type": "application/json"}
HIGHEST_RATE = 2000  # what one Python process can send without falling behind its schedule
# Below the 180 s after which Traefik closes an idle connection, so that a request never meets a
# connection that the server is about to close.
KEEPALIVE_SECONDS = 60.0


# Passed in the environment, because every user can read the arguments of a process.
KEY_VARIABLE = "IRIS_API_KEY"


@dataclass(frozen=True)
class LoadConfig:
    """What to send: ``rate`` in requests/s, bounds in seconds and requests, ``timeout`` in s, the API ``key``.

    ``ca_file`` has the CA certificate to trust for HTTPS; empty: the system's. For a share ``labels`` of the
    predictions the true label follows ``label_delay`` s after the response. The requests cycle through ``instances``
    distinct instances; 0: every request has a new one.
    """

    url: str
    host: str
    rate: float
    seconds: float
    requests: int
    timeout: float = 10.0
    seed: int = 1
    ca_file: str = ""
    labels: float = 0.0
    label_delay: float = 2.0
    instances: int = 0
    key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.rate <= HIGHEST_RATE:
            raise ValueError(f"rate must be above 0 and at most {HIGHEST_RATE} requests/s, not {self.rate}")
        if self.seconds <= 0 or self.requests <= 0 or self.timeout <= 0:
            raise ValueError("seconds, requests and timeout must be above 0")
        if not 0 <= self.labels <= 1 or self.label_delay < 0:
            raise ValueError("labels must be a share from 0 to 1, and their delay not below 0")
        if self.instances < 0:
            raise ValueError(f"instances must not be below 0, not {self.instances}")
        require_loopback(self.url)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        return {"Host": self.host} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})


def require_loopback(url: str) -> None:
    """Raise ValueError unless ``url`` is a loopback address: load is sent nowhere else."""
    hostname = urlsplit(url).hostname or ""
    try:
        loopback = ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        loopback = hostname == "localhost"
    if not loopback:
        raise ValueError(f"load is sent to loopback only, not to {hostname or url!r}")


def connect(load: LoadConfig, **options: Any) -> aiohttp.ClientSession:
    """A session for requests to the target of ``load``, with its headers and trusted CA."""
    trusted = ssl.create_default_context(cafile=load.ca_file or None)
    # No limit on connections: waiting for a free one would delay requests. Rate x timeout bounds them.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS, ssl=trusted)
    return aiohttp.ClientSession(connector=connector, headers=load.headers, **options)


def instances_of(load: LoadConfig) -> Iterator[Instance]:
    """The instances that ``load`` sends, in order."""
    instances = sample_instances(load.seed)
    return cycle(islice(instances, load.instances)) if load.instances else instances


async def generate(
    load: LoadConfig,
    stop: asyncio.Event,
    record: Callable[[Sample], None],
    record_label: Callable[[Label], None] = lambda _: None,
) -> int:
    """Send until a bound is reached or ``stop`` is set; return how many requests were sent.

    Every request sent has been handed to ``record`` once when this returns, and every label sent to ``labelled``.
    """
    instances = instances_of(load)
    timeout = aiohttp.ClientTimeout(total=load.timeout)
    sent = 0
    async with (
        connect(load, timeout=timeout) as session,
        asyncio.TaskGroup() as requests,
    ):
        labeller = FeedbackSender(
            session,
            feedback_url(load.url),
            load.host,
            share=load.labels,
            delay=load.label_delay,
            seed=load.seed,
            record=record_label,
        )
        start_wall, start = time.time(), time.monotonic()
        while sent < load.requests and sent / load.rate < load.seconds:
            due = sent / load.rate
            if await _stopped_before(stop, start + due - time.monotonic()):
                break
            sending = _send(session, load, next(instances), start_wall + due, start + due, record)
            requests.create_task(_send_and_label(sending, labeller, stop) if labeller.is_sampled() else sending)
            sent += 1
    return sent


async def _send_and_label(sending: Awaitable[Prediction | None], labeller: FeedbackSender, stop: asyncio.Event) -> None:
    prediction = await sending
    if prediction is not None:
        await labeller.send(prediction, stop)


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
    load: LoadConfig,
    instance: Instance,
    due_wall: float,
    due: float,
    record: Callable[[Sample], None],
) -> Prediction | None:
    """Send one request and record its sample; returns the prediction when there is one."""
    late = time.monotonic() - due
    status, version, request_id = 0, "", ""
    body = json.dumps({"instances": [instance.features]}).encode()
    try:
        async with session.post(load.url, data=body, headers=JSON, server_hostname=load.host) as response:
            status = response.status
            version = response.headers.get("X-Model-Version", "")
            request_id = response.headers.get("X-Request-ID", "")
            await response.read()
            kind = Kind.OK if status < HTTPStatus.MULTIPLE_CHOICES else Kind.STATUS
    except TimeoutError:
        kind = Kind.TIMEOUT
    except (aiohttp.ClientError, OSError):
        kind = Kind.CONNECT
    record(Sample(due_wall, time.monotonic() - due, kind, status, version, max(0.0, late)))
    return Prediction(request_id, version, instance.species) if kind is Kind.OK else None


async def _run(load: LoadConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Standard input carries no data: it is closed when the parent is gone or wants the load to stop.
    loop.add_reader(sys.stdin.fileno(), stop.set)
    pending = Batch([], [])
    flusher = asyncio.create_task(_flush_periodically(pending))
    try:
        await generate(load, stop, pending.samples.append, pending.labels.append)
    finally:
        flusher.cancel()
        _flush(pending)


async def _flush_periodically(pending: Batch) -> None:
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        _flush(pending)


def _flush(pending: Batch) -> None:
    if pending.samples or pending.labels:
        sys.stdout.write(encode(*pending) + "\n")
        sys.stdout.flush()
        pending.samples.clear()
        pending.labels.clear()


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the generator's process."""
    parser = argparse.ArgumentParser(
        prog="python -m iris_demo.load", description=__doc__, epilog=f"The API key is taken from ${KEY_VARIABLE}."
    )
    parser.add_argument("--url", default=PREDICT_URL)
    parser.add_argument("--host", default="iris.example.com", help="Host header")
    parser.add_argument("--rate", type=float, default=60.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60.0, help="stop after this long")
    parser.add_argument("--requests", type=int, default=100_000, help="stop after this many")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds a request may take")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sampled instances")
    parser.add_argument("--ca-file", "--authority", default="", help="file with the certificate to trust")
    parser.add_argument(
        "--labels", type=float, default=0.0, help="share of the predictions whose true label is sent back"
    )
    parser.add_argument("--label-delay", type=float, default=2.0, help="seconds from a response to its label")
    parser.add_argument(
        "--instances", "--flowers", type=int, default=0, help="number of distinct instances to repeat; 0: all distinct"
    )
    options = parser.parse_args(arguments)
    try:
        load = LoadConfig(**vars(options), key=os.environ.get(KEY_VARIABLE, ""))
    except ValueError as error:
        parser.error(str(error))
    asyncio.run(_run(load))
    return 0


if __name__ == "__main__":
    sys.exit(main())
