"""The load generator's process as its parent sees it: start, collect, stop."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import aiohttp

from iris_demo.load import KEY_VARIABLE, Load, connect
from iris_demo.rows import varied_flowers
from iris_demo.samples import Label, Sample, decode

# A line holds at most a few seconds' worth of samples; asyncio's 64 KiB default is too near.
LINE_LIMIT_BYTES = 4 * 1024 * 1024
PROBE_SECONDS = 0.2
# So many good answers in a row reach each of a few pods in turn.
STEADY = 20


class Traffic:
    """Samples and labels of a running load, in the order in which the requests ended."""

    def __init__(self, load: Load, process: asyncio.subprocess.Process) -> None:
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
        self._news = asyncio.Condition()

    def listen(self, listener: Callable[[list[Sample]], None]) -> None:
        """Call ``listener`` with every further batch of finished samples."""
        self._listeners.append(listener)

    async def until(self, condition: Callable[[list[Sample]], bool], seconds: float) -> None:
        """Wait until ``condition`` holds for the samples; TimeoutError after that many ``seconds``."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: condition(self.samples) or self._ended)
        if not condition(self.samples):
            raise RuntimeError("the load ended before it had shown what was waited for")

    async def stop(self) -> None:
        """Send no more, wait for the answers still under way, and collect them all.

        Raises RuntimeError when the generator itself failed: its counts cannot be trusted then.
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
            async with self._news:
                self._news.notify_all()
        async with self._news:
            self._ended = True
            self._news.notify_all()


@asynccontextmanager
async def traffic(load: Load) -> AsyncIterator[Traffic]:
    """Run ``load`` in a process of its own for the length of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "iris_demo.load",
        *(f"--{name.replace('_', '-')}={value}" for name, value in vars(load).items() if name != "key"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_LIMIT_BYTES,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), KEY_VARIABLE: load.key},
        # Ctrl-C belongs to the parent, which then stops the load and still counts every answer.
        start_new_session=True,
    )
    running = Traffic(load, process)
    try:
        yield running
    finally:
        await running.stop()


async def first_answer(load: Load, seconds: float) -> None:
    """Wait until the target of ``load`` keeps answering predictions with 200; TimeoutError after ``seconds``.

    These requests are not part of any count: they ask whether the route exists yet, and whether every pod behind it
    knows the key, which may be younger than the pods.
    """
    good = 0
    body = {"instances": [next(varied_flowers(load.seed)).measured]}
    async with asyncio.timeout(seconds), connect(load) as session:
        while True:
            try:
                async with session.post(load.url, json=body, server_hostname=load.host) as answer:
                    good = good + 1 if answer.status == HTTPStatus.OK else 0
            except aiohttp.ClientError:
                good = 0
            if good == STEADY:
                return
            if good:
                continue
            # The Ingress controller tells nobody when it has taken a route in: asking is all there is.
            await asyncio.sleep(PROBE_SECONDS)
