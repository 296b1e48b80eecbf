"""How long an evaluation takes: one release with everything around it, from the stored text to the stored text."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.analysis.ours import settings
from bench.analysis.traffic import BOUNDS, CACHED_FASTER, Behaviour, bins_of
from iris_operator.analysis.counts import Interval, RequestCounts
from iris_operator.analysis.judge import Case, judge, judge_fleet

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


def seconds_of_one(repeats: int, cached: float = 0.0) -> tuple[float, float, int]:
    """Median and least seconds of one evaluation on this thread, and the bytes of its memory.

    The two are far apart where the machine has only a part of its core. A share `cached` of stable's requests was
    answered by its cache, and half as much of the canary's.
    """
    analysis = settings()
    interval = Interval(counts(100, 1, 1, cached / 2), counts(900, 2, 10, cached), weight=0.1)
    text = json.dumps(judge(interval, {}, analysis, 50).memory, separators=(",", ":"))
    took = []
    for _ in range(repeats):
        begun = time.thread_time()
        text = json.dumps(judge(interval, json.loads(text), analysis, 50).memory, separators=(",", ":"))
        took.append(time.thread_time() - begun)
    return float(np.median(took)), min(took), len(text)


def seconds_of_fleet(releases: int) -> float:
    """Seconds for one interval of so many releases, each with its own counts and memory, from stored to stored text."""
    analysis = settings()
    intervals = [Interval(counts(100, 2 * n, 1), counts(900, 2 * n + 1, 10), weight=0.1) for n in range(releases)]
    texts = [json.dumps(judge(interval, {}, analysis, 50).memory) for interval in intervals]
    begun = time.thread_time()
    cases = [Case(interval, json.loads(text), analysis, 50) for interval, text in zip(intervals, texts, strict=True)]
    for judgement in judge_fleet(cases):
        json.dumps(judgement.memory)
    return time.thread_time() - begun
