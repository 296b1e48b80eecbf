"""The generator against a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from iris_demo import counts
from iris_demo.load import LoadConfig, generate, require_loopback
from iris_demo.samples import Kind, Sample
from iris_demo.traffic import CONSECUTIVE_SUCCESSES, run_load, wait_until_serving

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/predict", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}/v1/predict"
    finally:
        await runner.cleanup()


def load(url: str, rate: float = 100.0, requests: int = 50, timeout: float = 20.0, seconds: float = 5.0) -> LoadConfig:
    return LoadConfig(url, "iris.example.com", rate, seconds, requests, timeout)


async def run(load: LoadConfig) -> list[Sample]:
    samples: list[Sample] = []
    sent = await generate(load, asyncio.Event(), samples.append)
    assert sent == len(samples)
    return samples


async def test_requests_are_distinct_predictions_for_the_host() -> None:
    bodies: list[str] = []
    hosts: set[str] = set()

    async def answer(request: web.Request) -> web.Response:
        bodies.append(await request.text())
        hosts.add(request.host)
        return web.json_response({}, headers={"X-Model-Version": "1.0.0"})

    async with serving(answer) as url:
        samples = await run(load(url))
    assert counts.totals(samples).ok == 50
    assert counts.totals(samples).by_version == {"1.0.0": 50}
    assert hosts == {"iris.example.com"}
    assert len(set(bodies)) == 50


async def test_a_limited_number_of_instances_is_sent_in_turn() -> None:
    bodies: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        bodies.append(await request.text())
        return web.json_response({})

    async with serving(answer) as url:
        # One after the other, so that they arrive in the order in which they were sent.
        await run(replace(load(url, rate=50, requests=6), instances=3))
    assert len(set(bodies)) == 3
    assert bodies[:3] == bodies[3:]


async def test_a_negative_number_of_instances_is_rejected() -> None:
    with pytest.raises(ValueError, match="instances must not be below 0"):
        replace(load("http://127.0.0.1:1/v1/predict"), instances=-1)


async def test_the_key_is_sent_with_every_request_and_is_not_an_argument_of_the_process() -> None:
    keys: set[str | None] = set()
    arguments: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        keys.add(request.headers.get("Authorization"))
        arguments.append(await asyncio.to_thread(_arguments_of_children))
        return web.json_response({})

    async with serving(answer) as url:
        with_key = replace(load(url, requests=10), key="iris_secret")
        await wait_until_serving(with_key, seconds=30)
        async with run_load(with_key) as running:
            await running.wait_for(lambda samples: len(samples) == 10, seconds=20)
    assert keys == {"Bearer iris_secret"}
    assert "iris_demo.load" in arguments[-1]
    assert "iris_secret" not in "".join(arguments)
    assert "iris_secret" not in repr(with_key)


def _arguments_of_children() -> str:
    mine = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return "\n".join(Path(f"/proc/{child}/cmdline").read_text() for child in mine)


async def test_serving_is_awaited_until_several_consecutive_successes() -> None:
    count = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal count
        count += 1
        # The second of two pods learns of the key a little later.
        return web.json_response({}, status=401 if count < 8 and count % 2 else 200)

    async with serving(answer) as url:
        await wait_until_serving(load(url), seconds=10)
    assert count >= 7 + CONSECUTIVE_SUCCESSES


async def test_slow_responses_do_not_slow_the_rate_and_show_as_latency() -> None:
    waiting = 0
    all_are_there = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        nonlocal waiting
        waiting += 1
        if waiting == 40:
            all_are_there.set()
        await all_are_there.wait()
        return web.json_response({})

    async with serving(answer) as url:
        samples = await run(load(url, rate=100.0, requests=40))
    assert counts.totals(samples).ok == 40, "a request waited for the answer to another"
    due = sorted(sample.scheduled for sample in samples)
    assert due[-1] - due[0] == pytest.approx(0.39)
    # The last was not sent before it was due, and no answer came before that.
    assert all(sample.scheduled + sample.latency >= due[-1] - 1e-6 for sample in samples)


async def test_each_failure_has_its_kind() -> None:
    count = 0
    over = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        match count % 3:
            case 0:
                return web.json_response({}, status=500, headers={"X-Model-Version": "3.0.0"})
            case 1:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response()
            case _:
                await over.wait()
                return web.Response()

    async with serving(answer) as url:
        samples = await run(load(url, rate=50.0, requests=9, timeout=1.5))
        over.set()
    assert counts.totals(samples).failed == {"connect": 3, "status 500": 3, "timeout": 3}
    assert {s.version for s in samples if s.kind is Kind.STATUS} == {"3.0.0"}


async def test_no_server_is_a_failure_of_every_request() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    async with serving(answer) as url:
        pass  # its port is free again, and nobody listens there
    samples = await run(load(url, requests=5))
    assert [sample.kind for sample in samples] == [Kind.CONNECT] * 5


async def test_the_process_counts_everything_and_stops_on_request() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({}, headers={"X-Model-Version": "1.0.0"})

    async with serving(answer) as url:
        await wait_until_serving(load(url), seconds=30)
        batches: list[Sample] = []
        async with run_load(load(url, requests=1000, seconds=30)) as running:
            running.listen(batches.extend)
            await running.wait_for(lambda samples: len(samples) >= 30, seconds=20)
    assert 30 <= len(running.samples) < 1000
    assert batches == running.samples


async def test_the_process_stops_at_its_bounds() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({})

    async with serving(answer) as url, run_load(load(url, requests=10)) as running:
        await running.wait_for(lambda samples: len(samples) == 10, seconds=20)
        with pytest.raises(RuntimeError, match="ended"):
            await running.wait_for(lambda samples: len(samples) > 10, seconds=20)


@pytest.mark.parametrize("url", ["http://192.0.2.1/v1/predict", "http://example.com/", "http://0.0.0.0/", "nonsense"])
def test_load_goes_to_loopback_only(url: str) -> None:
    with pytest.raises(ValueError, match="loopback only"):
        require_loopback(url)


@pytest.mark.parametrize("rate", [0.0, -1.0, 5000.0])
def test_a_rate_that_cannot_be_sent_is_rejected(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        load("http://127.0.0.1/", rate=rate)
