"""The service's performance promises, compared with the medians of one benchmark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.inference.cases import BARE, BATCH, BATCHES, FOREST_MISSES, MISSES, MLSERVER, MLSERVER_FOREST
from bench.inference.image import ImageSize
from bench.inference.run import Run
from bench.inference.servers import OURS

MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Median:
    """The medians over a case's repetitions that are not void."""

    repetitions: int
    rate: float
    predictions_rate: float
    p50_ms: float
    p99_ms: float
    resident_bytes: float
    server_share: float
    load_share: float


@dataclass(frozen=True, slots=True)
class Bound:
    """A promise: `value` must be at least the limit or, with `below`, less than it. None: it was not measured."""

    name: str
    value: float | None
    limit: float
    unit: str
    below: bool
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it is met; None when it was not measured."""
        if self.value is None:
            return None
        return self.value < self.limit if self.below else self.value >= self.limit


def medians_by_case(runs: Sequence[Run]) -> dict[str, Median]:
    """One for each case that has a run which is not void."""
    good: dict[str, list[Run]] = {}
    for run in runs:
        if not run.void:
            good.setdefault(run.case, []).append(run)
    return {case: _median(repetitions) for case, repetitions in good.items()}


def _median(runs: Sequence[Run]) -> Median:
    return Median(
        repetitions=len(runs),
        rate=median(run.rate for run in runs),
        predictions_rate=median(run.predictions_rate for run in runs),
        p50_ms=median(run.p50_ms for run in runs),
        p99_ms=median(run.p99_ms for run in runs),
        resident_bytes=median(run.memory.resident for run in runs),
        server_share=median(run.shares["server"] for run in runs),
        load_share=median(sum(run.shares.values()) - run.shares["server"] for run in runs),
    )


def bounds(of: Mapping[str, Median], ready_seconds: float | None, image: ImageSize) -> list[Bound]:
    """Every promise, with its value where the cases that it needs were measured."""
    ours = [case.resident_bytes for name, case in of.items() if name.startswith(OURS)]
    megabytes = None if image.size is None else image.size / MEGABYTE
    return [
        _at_least(0.40, "x", "requests: ours / bare ASGI", _ratio(of, MISSES, BARE)),
        _below(3, "x", "p99: ours / bare ASGI", _p99_ratio(of, MISSES, BARE)),
        _at_least(10, "x", "requests: ours / MLServer, logistic regression", _ratio(of, MISSES, MLSERVER)),
        _at_least(60, "x", "requests: ours / MLServer, forest", _ratio(of, FOREST_MISSES, MLSERVER_FOREST)),
        _at_least(150_000, "/s", f"predictions in batches of {BATCH}", _predictions(of, BATCHES)),
        _below(3, "s", "start to ready", ready_seconds),
        _below(220, "MB", "memory after load, the largest of ours", max(ours) / MEGABYTE if ours else None),
        _below(400, "MB", "image", megabytes, image.note),
    ]


def _at_least(limit: float, unit: str, name: str, value: float | None) -> Bound:
    return Bound(name, value, limit, unit, below=False)


def _below(limit: float, unit: str, name: str, value: float | None, note: str = "") -> Bound:
    return Bound(name, value, limit, unit, below=True, note=note)


def _ratio(of: Mapping[str, Median], case: str, to: str) -> float | None:
    return of[case].rate / of[to].rate if case in of and to in of else None


def _p99_ratio(of: Mapping[str, Median], case: str, to: str) -> float | None:
    return of[case].p99_ms / of[to].p99_ms if case in of and to in of else None


def _predictions(of: Mapping[str, Median], case: str) -> float | None:
    return of[case].predictions_rate if case in of else None
