"""Counts of pods as a service would have them: durations drawn one by one, from a generator with a fixed seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from iris_operator.analysis.counts import RequestCounts

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


def drawn_pod(
    rng: np.random.Generator,
    requests: int,
    *,
    median: float = 0.02,
    sigma: float = 0.6,
    errors: float = 0.0,
    refused: float = 0.0,
) -> RequestCounts:
    """One pod with log-normal durations; `errors` and `refused` are shares of 5xx and 4xx answers."""
    durations = median * np.exp(sigma * rng.normal(size=requests))
    failed, denied = int(rng.binomial(requests, errors)), int(rng.binomial(requests, refused))
    failed = min(failed, requests - denied)
    a, b, c = rng.multinomial(requests, (0.4, 0.3, 0.3)).tolist()
    return RequestCounts(
        by_code={"200": requests - failed - denied, "404": denied, "500": failed},
        at_most={bound: int((durations <= bound).sum()) for bound in BOUNDS},
        timed=requests,
        failures=failed,
        by_class={"a": a, "b": b, "c": c},
        seconds=float(durations.sum()),
    )


def pooled(pods: Sequence[RequestCounts]) -> RequestCounts:
    """One revision with these pods, of which all have the same measurements."""
    first = pods[0]
    return replace(
        first,
        by_code={code: sum(pod.by_code[code] for pod in pods) for code in first.by_code},
        at_most={bound: sum(pod.at_most[bound] for pod in pods) for bound in first.at_most},
        timed=sum(pod.timed for pod in pods),
        failures=sum(pod.failures or 0 for pod in pods),
        by_class={name: sum((pod.by_class or {})[name] for pod in pods) for name in first.by_class or {}},
        seconds=sum(pod.seconds or 0.0 for pod in pods),
        correct=None if first.correct is None else sum(pod.correct or 0 for pod in pods),
        incorrect=None if first.incorrect is None else sum(pod.incorrect or 0 for pod in pods),
        pods=tuple(pods),
    )
