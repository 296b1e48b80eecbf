"""The soak's open-loop load against a server that remembers."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from support.bench.answering import FakeServer, always_good, response, run_fake_server

RATE = 200
SECONDS = 2
WANTED = RATE * SECONDS


def generated(server: FakeServer, *, connections: int = 8, timeout: float = 30) -> tuple[int, list[dict[str, Any]]]:
    """The exit code of the generator's process and what it reported."""
    command = [
        sys.executable, "-m", "bench.inference.soak.generator", "--port", str(server.port), "--path", "/v1/predict",
        "--rate", str(RATE), "--seconds", str(SECONDS), "--connections", str(connections), "--seed", "1",
        "--timeout", str(timeout),
        "--header", "X-Key: a secret",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(autouse=True)
def _source_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))


def latencies(reports: list[dict[str, Any]]) -> list[int]:
    """In tenths of a millisecond, one for each answer."""
    return [int(step) for report in reports for step, count in report["latencies"].items() for _ in range(count)]


def test_the_configured_number_of_distinct_instances_is_sent() -> None:
    with run_fake_server(always_good) as server:
        code, reports = generated(server)
    assert code == 0
    last = reports[-1]
    assert WANTED - RATE / 10 <= last["sent"] <= WANTED
    assert last["acknowledged"] == last["sent"] == len(server.bodies) == len(latencies(reports))
    assert last["failed"] == 0
    assert len(set(server.bodies)) == len(server.bodies)
    (instance,) = json.loads(server.bodies[0])["instances"]
    assert len(instance) == 4
    assert b"X-Key: a secret\r\n" in server.heads[0]


def test_the_rate_is_constant_while_the_server_stalls_and_queueing_is_measured() -> None:
    still = 0.5

    async def once_still(before: int) -> bytes:
        if before == 100:
            # Nothing moves, as when a collector or a disk holds the process.
            import time  # noqa: PLC0415 - only here a test wants to block a loop

            time.sleep(still)  # noqa: ASYNC251 - this is the point
        return response()

    with run_fake_server(once_still) as server:
        code, reports = generated(server)
    assert code == 0
    assert reports[-1]["acknowledged"] >= WANTED - RATE / 10
    waited = [step for step in latencies(reports) if step > 1_000]
    # A closed loop would have seen one slow answer for each of its 8 connections.
    assert len(waited) > RATE * still / 2


def test_bad_answers_and_closed_connections_are_failures() -> None:
    async def sometimes_bad(before: int) -> bytes | None:
        await asyncio.sleep(0)
        return {50: response("503 Service Unavailable"), 100: None}.get(before, response())

    with run_fake_server(sometimes_bad) as server:
        code, reports = generated(server)
    last = reports[-1]
    assert code == 0
    assert last["failed"] == 2
    assert last["acknowledged"] == last["sent"] - 2


def test_a_server_that_is_too_slow_ends_the_load() -> None:
    async def slow(_before: int) -> bytes:
        await asyncio.sleep(60)
        return response()

    with run_fake_server(slow) as server:
        code, reports = generated(server, connections=1, timeout=1)
    assert code != 0
    assert reports[-1]["acknowledged"] == 0
