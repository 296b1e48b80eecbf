"""Runs the load generator as a child process: starts it, collects its samples, stops it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import aiohttp

from iris_demo.dataset import sample_instances
from iris_demo.load import KEY_VARIABLE, LoadConfig, connect
from iris_demo.samples import Label, Sample, decode

# A line holds at most a few seconds' worth of samples; asyncio's default of 64 KiB would be too small.
LINE_LIMIT_BYTES = 4 * 1024 * 1024
PROBE_SECONDS = 0.2
# Enough consecutive successes to have reached each of a few pods.
CONSECUTIVE_SUCCESSES = 20


class Traffic:
    """Samples and labels of a running load, in the order in which the requests ended."""

    def __init__(self, load: LoadConfig, process: asyncio.subprocess.Process) -> None:
        self.load = load
        self.samples: list[Sample] = []
        self.labels: list[Label] = []
        self._process = process
        if process.stdout is None:
            raise ValueError("the load generator needs a pipe for its output")
        self._output = process.stdout
        self._reader = asyncio.create_task(self._read())
        self._listeners: list[Callable[[list[Sample]], None]] = []
        self._ended = False
        self._updated = asyncio.Condition()

    def listen(self, listener: Callable[[list[Sample]], None]) -> None:
        """Call ``listener`` with every further batch of finished samples."""
        self._listeners.append(listener)

    async def wait_for(self, condition: Callable[[list[Sample]], bool], seconds: float) -> None:
        """Wait until ``condition`` holds for the samples; TimeoutError after that many ``seconds``."""
        async with asyncio.timeout(seconds), self._updated:
            await self._updated.wait_for(lambda: condition(self.samples) or self._ended)
        if not condition(self.samples):
            raise RuntimeError("the load ended before the awaited condition held")

    async def stop(self) -> None:
        """Stop sending, wait for the responses still in flight, and collect them all.

        Raises RuntimeError when the generator itself failed, because its counts cannot be trusted then.
        """
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._reader
        code = await self._process.wait()
        if code != 0:
            raise RuntimeError(f"the load generator ended with exit code {code}")

    async def _read(self) -> None:
        async for line in self._output:
            batch = decode(line.decode())
            self.samples.extend(batch.samples)
            self.labels.extend(batch.labels)
            for listener in self._listeners:
                listener(batch.samples)
            async with self._updated:
                self._updated.notify_all()
        async with self._updated:
            self._ended = True
            self._updated.notify_all()


@asynccontextmanager
async def run_load(load: LoadConfig) -> AsyncIterator[Traffic]:
    """Run ``load`` in a process of its own for the duration of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "iris_demo.load",
        *(f"--{name.replace('_', '-')}={value}" for name, value in vars(load).items() if name != "key"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_LIMIT_BYTES,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), KEY_VARIABLE: load.key},
        # The parent handles Ctrl-C: it then stops the load and still counts every response.
        start_new_session=True,
    )
    running = Traffic(load, process)
    try:
        yield running
    finally:
        await running.stop()


async def wait_until_serving(load: LoadConfig, seconds: float) -> None:
    """Wait until the target of ``load`` consistently answers predictions with 200; TimeoutError after ``seconds``.

    These requests are not counted: they check whether the route exists yet, and whether every pod behind it accepts
    the key, which may have been created after the pods.
    """
    good = 0
    body = {"instances": [next(sample_instances(load.seed)).features]}
    async with asyncio.timeout(seconds), connect(load) as session:
        while True:
            try:
                async with session.post(load.url, json=body, server_hostname=load.host) as answer:
                    good = good + 1 if answer.status == HTTPStatus.OK else 0
            except aiohttp.ClientError:
                good = 0
            if good == CONSECUTIVE_SUCCESSES:
                return
            if good:
                continue
            # The Ingress controller does not report when it has loaded a route, so it has to be polled.
            await asyncio.sleep(PROBE_SECONDS)
