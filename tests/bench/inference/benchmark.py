"""The whole benchmark: prepare, measure every case in turn as often as asked, and put the result together."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from bench.inference import artefacts
from bench.inference.bounds import bounds, medians_by_case
from bench.inference.cases import CASES, MISSES, Case, order
from bench.inference.image import image_size
from bench.inference.machine import commit, machine, versions
from bench.inference.measure import Duration, Measurement
from bench.inference.result import Result, Setting
from bench.inference.run import Run
from bench.inference.server import LOAD_CPU, SERVER_CPU
from bench.inference.startup import seconds_to_ready
from bench.inference.stores import Stores

NOTES: Final = (
    f"each server is one process on core {SERVER_CPU}; wrk is on core {LOAD_CPU}, for ours with PostgreSQL and Redis",
    "closed loop: each connection sends the next request after its response; latencies are those at this concurrency",
    "every instance is new to the server unless the row says otherwise; ratios are of medians of this one benchmark",
    "ours requires an API key, records through the spool (of up to 1 GiB) to PostgreSQL (without fsync), has both",
    "  tiers of the cache, is scraped every 5 s, and writes a line for each request to a file",
    "a run counts when no request failed, the labels were scikit-learn's before and after it,",
    "  and every acknowledged prediction was in PostgreSQL once",
)
Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BenchmarkConfig:
    """Which cases to measure, how often and how long, on how many connections, and the seed of the instances."""

    cases: Sequence[Case]
    repetitions: int
    duration: Duration
    connections: int
    starts: int
    seed: int


@contextlib.contextmanager
def prepare(connections: int, seed: int, cases: Sequence[Case], log: Log) -> Iterator[Measurement]:
    """Everything that measuring needs, with the models built; removed afterwards. Raises SubprocessError."""
    with tempfile.TemporaryDirectory(prefix="iris-bench-") as name, contextlib.ExitStack() as around:
        folder = Path(name)
        log("install the servers and fit the models")
        artefacts.prepare(folder / "models", [case.server for case in cases])
        stores = Stores(folder / "redis")
        around.callback(stores.close)
        (folder / "runs").mkdir()
        yield Measurement(folder / "runs", folder / "models", stores, connections, seed)


def benchmark(config: BenchmarkConfig, log: Log) -> Result:
    """Run the benchmark. Raises ServingError, LoadError and SubprocessError when a case could not be measured."""
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    with prepare(config.connections, config.seed, config.cases, log) as measurement:
        starts = _starts(measurement, config, log)
        runs = list(_runs(measurement, config, log))
    of = medians_by_case(runs)
    image = image_size()
    return Result(
        commit=commit(),
        started_at=started_at,
        machine=machine(),
        versions=versions({case.server.environment for case in config.cases}),
        setting=Setting(
            repetitions=config.repetitions,
            warm_seconds=config.duration.warm,
            measured_seconds=config.duration.measured,
            connections=config.connections,
            seed=config.seed,
            notes=NOTES,
        ),
        bounds=bounds(of, median(starts) if starts else None, image),
        medians=of,
        ready_seconds=starts,
        runs=runs,
    )


def _starts(measurement: Measurement, config: BenchmarkConfig, log: Log) -> list[float]:
    case = CASES[MISSES]
    if case not in config.cases:
        return []
    starts = [seconds_to_ready(measurement, case) for _ in range(config.starts)]
    log(f"start to ready: {', '.join(f'{seconds:.2f}' for seconds in starts)} s")
    return starts


def _runs(measurement: Measurement, config: BenchmarkConfig, log: Log) -> Iterator[Run]:
    total = config.repetitions * len(config.cases)
    number = 0
    for repetition in range(config.repetitions):
        for case in order(config.cases, repetition, config.repetitions):
            number += 1
            run = measurement.measure(case, repetition, config.duration)
            log(f"{number:3}/{total}  {_line(run)}")
            yield run


def _line(run: Run) -> str:
    parts = [f"{run.case:16}{run.predictions_rate:9,.0f}/s", f"p99 {run.p99_ms:8.2f} ms"]
    if run.behind:
        parts.append(f"the last record {run.behind.drain_seconds:.1f} s later")
    if run.void:
        parts.append(f"VOID: {'; '.join(run.void)}")
    return "  ".join(parts)
