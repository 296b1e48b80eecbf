"""How long an evaluation takes: one release with everything around it, from the stored text to the stored text.

As a command it prints what it measures as JSON: `measure` runs it with an interpreter like that of the images.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.analysis.ours import settings
from bench.analysis.traffic import BOUNDS, CACHED_FASTER, Behaviour, bins_of
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.judge import Case, judge, judge_fleet
from iris_operator.analysis.memory import read, written

Integers = NDArray[np.integer[Any]]


def counts(requests: int, seed: int, pods: int, cached: float = 0.0) -> RequestCounts:
    """An interval of a revision, with its pods; a share `cached` was answered by the cache."""
    chance = np.random.default_rng(seed)
    hits = chance.multinomial(round(requests * cached), bins_of(Behaviour(slower=CACHED_FASTER)))
    bins = chance.multinomial(requests - hits.sum(), bins_of(Behaviour())) + hits
    errors = int(chance.binomial(requests, 0.001))
    return RequestCounts(
        by_code={"200": requests - errors, "422": 0, "500": errors, "503": 0},
        at_most=dict(zip(BOUNDS, (int(n) for n in bins.cumsum()), strict=False)),
        timed=requests,
        failures=errors,
        by_class=dict(
            zip("abc", (int(n) for n in chance.multinomial(requests - errors, [0.34, 0.33, 0.33])), strict=True)
        ),
        cached={"local": _histogram(hits), "redis": _histogram(0 * hits)},
        pods=tuple(counts(requests // pods, seed + pod, 0, cached) for pod in range(1, pods + 1)) if pods else (),
    )


def _histogram(bins: Integers) -> dict[float, int]:
    return dict(zip((*BOUNDS, math.inf), (int(n) for n in bins.cumsum()), strict=True))


@dataclass(frozen=True)
class Speed:
    """What is measured; all in seconds of this thread."""

    python: str
    one: dict[str, One]
    """By the percentage of stable's answers that its cache had."""
    fleet: float
    """One interval of a thousand releases."""


@dataclass(frozen=True)
class One:
    """One evaluation: the median, the least, and the bytes of its evidence.

    `loop` is the median of a loop of plain Python that ran in between: what the machine gave meanwhile of its core.
    """

    median: float
    least: float
    memory: int
    loop: float


def measure() -> Speed:
    """With the distribution's Python, where it is of our version: the images of the local cluster have it.

    pyenv builds without optimizations when it is not asked for them; on such a one an evaluation took a seventh longer.
    """
    own = f"python{sys.version_info.major}.{sys.version_info.minor}"
    interpreter = shutil.which(own, path=os.defpath) or sys.executable
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    told = subprocess.run(
        [interpreter, "-m", __spec__.name], env=environment, capture_output=True, text=True, check=False
    )
    if told.returncode:
        raise RuntimeError(f"{interpreter} -m {__spec__.name} ended with {told.returncode}: {told.stderr}")
    measured = json.loads(told.stdout)
    return Speed(measured["python"], {name: One(**one) for name, one in measured["one"].items()}, measured["fleet"])


def time_one(repeats: int, cached: float = 0.0) -> One:
    """A share `cached` of stable's requests was answered by its cache, and half as much of the canary's."""
    analysis = settings()
    interval = Interval(counts(100, 1, 1, cached / 2), counts(900, 2, 10, cached), weight=0.1)
    text = written(judge(interval, {}, analysis, 50).memory)
    took, looped = [], []
    for _ in range(repeats):
        begun = time.thread_time()
        text = written(judge(interval, read(text), analysis, 50).memory)
        ended = time.thread_time()
        sum(number * number for number in range(2000))
        took.append(ended - begun)
        looped.append(time.thread_time() - ended)
    return One(float(np.median(took)), min(took), len(text), float(np.median(looped)))


def seconds_of_fleet(releases: int) -> float:
    """Seconds for one interval of so many releases, each with its own counts and memory, from stored to stored text."""
    analysis = settings()
    intervals = [Interval(counts(100, 2 * n, 1), counts(900, 2 * n + 1, 10), weight=0.1) for n in range(releases)]
    texts = [written(judge(interval, {}, analysis, 50).memory) for interval in intervals]
    begun = time.thread_time()
    cases = [Case(interval, read(text), analysis, 50) for interval, text in zip(intervals, texts, strict=True)]
    for judgement in judge_fleet(cases):
        written(judgement.memory)
    return time.thread_time() - begun


def main() -> None:
    """The command."""
    python = f"{platform.python_version()}, {platform.python_compiler()}"
    one = {f"{100 * share:.0f}": time_one(200, share) for share in (0.0, 0.6)}
    print(json.dumps(asdict(Speed(python, one, seconds_of_fleet(1000)))))


if __name__ == "__main__":
    main()
