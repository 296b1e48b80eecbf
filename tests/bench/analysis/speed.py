"""Duration of an evaluation of one release, from the stored checkpoint's text to the next one.

As a command it prints the measurements as JSON; `measure` runs it with an interpreter like that of the images.
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

from bench.analysis.operator_policy import settings
from bench.analysis.traffic import BOUNDS, CACHED_FASTER, Behaviour, bins_of
from iris_operator.analysis.checkpoint import parse, serialize
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.judge import judge, judge_fleet
from iris_operator.analysis.prepare import AnalysisInput

Integers = NDArray[np.integer[Any]]


def counts(requests: int, seed: int, pods: int, cached: float = 0.0) -> RequestCounts:
    """An interval of a revision, with its pods; a share `cached` was answered by the cache."""
    rng = np.random.default_rng(seed)
    hits = rng.multinomial(round(requests * cached), bins_of(Behaviour(slower=CACHED_FASTER)))
    bins = rng.multinomial(requests - hits.sum(), bins_of(Behaviour())) + hits
    errors = int(rng.binomial(requests, 0.001))
    return RequestCounts(
        by_code={"200": requests - errors, "422": 0, "500": errors, "503": 0},
        at_most=dict(zip(BOUNDS, (int(n) for n in bins.cumsum()), strict=False)),
        timed=requests,
        failures=errors,
        by_class=dict(
            zip("abc", (int(n) for n in rng.multinomial(requests - errors, [0.34, 0.33, 0.33])), strict=True)
        ),
        cached={"local": _histogram(hits), "redis": _histogram(0 * hits)},
        pods=tuple(counts(requests // pods, seed + pod, 0, cached) for pod in range(1, pods + 1)) if pods else (),
    )


def _histogram(bins: Integers) -> dict[float, int]:
    return dict(zip((*BOUNDS, math.inf), (int(n) for n in bins.cumsum()), strict=True))


@dataclass(frozen=True)
class Speed:
    """The measurements, in seconds of this thread's CPU time."""

    python: str
    one: dict[str, EvaluationTime]
    """By the percentage of stable's requests that its cache answered."""
    fleet: float
    """One interval of a thousand releases."""


@dataclass(frozen=True)
class EvaluationTime:
    """One evaluation: the median, the least, and the checkpoint's size in bytes.

    `loop` is the median of a loop of plain Python in between: a reference for the speed of the machine at that time.
    """

    median: float
    least: float
    checkpoint: int
    loop: float


def measure() -> Speed:
    """Measure with the distribution's Python if it has our version: the local cluster's images contain it.

    pyenv builds without optimizations by default; with such a build an evaluation took a seventh longer.
    """
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    interpreter = shutil.which(name, path=os.defpath) or sys.executable
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    completed = subprocess.run(
        [interpreter, "-m", __spec__.name], env=environment, capture_output=True, text=True, check=False
    )
    if completed.returncode:
        raise RuntimeError(f"{interpreter} -m {__spec__.name} ended with {completed.returncode}: {completed.stderr}")
    measured = json.loads(completed.stdout)
    return Speed(
        measured["python"], {name: EvaluationTime(**one) for name, one in measured["one"].items()}, measured["fleet"]
    )


def time_one(repeats: int, cached: float = 0.0) -> EvaluationTime:
    """A share `cached` of stable's requests was answered by its cache, and half as much of the canary's."""
    analysis = settings()
    interval = Interval(counts(100, 1, 1, cached / 2), counts(900, 2, 10, cached), weight=0.1)
    text = serialize(judge(interval, {}, analysis, 50).checkpoint)
    durations, loops = [], []
    for _ in range(repeats):
        start = time.thread_time()
        text = serialize(judge(interval, parse(text), analysis, 50).checkpoint)
        ended = time.thread_time()
        sum(number * number for number in range(2000))
        durations.append(ended - start)
        loops.append(time.thread_time() - ended)
    return EvaluationTime(float(np.median(durations)), min(durations), len(text), float(np.median(loops)))


def seconds_of_fleet(releases: int) -> float:
    """Seconds for one interval of so many releases, each with its own counts and checkpoint, from text to text."""
    analysis = settings()
    intervals = [Interval(counts(100, 2 * n, 1), counts(900, 2 * n + 1, 10), weight=0.1) for n in range(releases)]
    texts = [serialize(judge(interval, {}, analysis, 50).checkpoint) for interval in intervals]
    start = time.thread_time()
    inputs = [
        AnalysisInput(interval, parse(text), analysis, 50) for interval, text in zip(intervals, texts, strict=True)
    ]
    for judgement in judge_fleet(inputs):
        serialize(judgement.checkpoint)
    return time.thread_time() - start


def main() -> None:
    """Print the measurements."""
    python = f"{platform.python_version()}, {platform.python_compiler()}"
    one = {f"{100 * share:.0f}": time_one(200, share) for share in (0.0, 0.6)}
    print(json.dumps(asdict(Speed(python, one, seconds_of_fleet(1000)))))


if __name__ == "__main__":
    main()
