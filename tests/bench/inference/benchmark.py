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
from bench.inference.bounds import bounds, medians
from bench.inference.cases import CASES, MISSES, Case, order
from bench.inference.contestant import LOAD_CPU, SERVER_CPU
from bench.inference.image import image_size
from bench.inference.machine import commit, machine, versions
from bench.inference.measure import Bench, Duration
from bench.inference.result import Result, Setting
from bench.inference.run import Run
from bench.inference.startup import seconds_to_ready
from bench.inference.stores import Stores

NOTES: Final = (
    f"each server is one process on core {SERVER_CPU}; wrk is on core {LOAD_CPU}, for ours with PostgreSQL and Redis",
    "closed loop: each connection asks again when it has its answer, and latencies are those at this concurrency",
    "every flower is new to the server unless the row says otherwise; ratios are of medians of this one benchmark",
    "ours asks for an API key, records through the spool (of up to 1 GiB) to PostgreSQL (without fsync), has both",
    "  tiers of the cache, is asked for its metrics every 5 s, and writes a line for each request to a file",
    "a run counts when no request failed, the labels were scikit-learn's before and after it,",
    "  and every acknowledged prediction was in PostgreSQL once",
)
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: which cases, how often and how long, on how many connections, and from which flower on."""

    cases: Sequence[Case]
    repetitions: int
    duration: Duration
    connections: int
    starts: int
    seed: int


@contextlib.contextmanager
def bench(connections: int, seed: int, cases: Sequence[Case], say: Say) -> Iterator[Bench]:
    """The place to measure in, with the models made; removed afterwards. Raises SubprocessError."""
    with tempfile.TemporaryDirectory(prefix="iris-bench-") as name, contextlib.ExitStack() as around:
        folder = Path(name)
        say("install what is measured, and fit the models")
        artefacts.prepare(folder / "models", [case.contestant for case in cases])
        stores = Stores(folder / "redis")
        around.callback(stores.close)
        (folder / "runs").mkdir()
        yield Bench(folder / "runs", folder / "models", stores, connections, seed)


def benchmark(plan: Plan, say: Say) -> Result:
    """Do it. Raises ServingError, LoadError and SubprocessError when something could not be measured at all."""
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    with bench(plan.connections, plan.seed, plan.cases, say) as place:
        starts = _starts(place, plan, say)
        runs = list(_runs(place, plan, say))
    of = medians(runs)
    image = image_size()
    return Result(
        commit=commit(),
        started_at=started_at,
        machine=machine(),
        versions=versions({case.contestant.environment for case in plan.cases}),
        setting=Setting(
            repetitions=plan.repetitions,
            warm_seconds=plan.duration.warm,
            measured_seconds=plan.duration.measured,
            connections=plan.connections,
            seed=plan.seed,
            notes=NOTES,
        ),
        bounds=bounds(of, median(starts) if starts else None, image),
        medians=of,
        ready_seconds=starts,
        runs=runs,
    )


def _starts(place: Bench, plan: Plan, say: Say) -> list[float]:
    case = CASES[MISSES]
    if case not in plan.cases:
        return []
    starts = [seconds_to_ready(place, case) for _ in range(plan.starts)]
    say(f"start to ready: {', '.join(f'{seconds:.2f}' for seconds in starts)} s")
    return starts


def _runs(place: Bench, plan: Plan, say: Say) -> Iterator[Run]:
    total = plan.repetitions * len(plan.cases)
    number = 0
    for repetition in range(plan.repetitions):
        for case in order(plan.cases, repetition, plan.repetitions):
            number += 1
            run = place.measure(case, repetition, plan.duration)
            say(f"{number:3}/{total}  {_line(run)}")
            yield run


def _line(run: Run) -> str:
    parts = [f"{run.case:16}{run.predictions_rate:9,.0f}/s", f"p99 {run.p99_ms:8.2f} ms"]
    if run.behind:
        parts.append(f"the last record {run.behind.drain_seconds:.1f} s later")
    if run.void:
        parts.append(f"VOID: {'; '.join(run.void)}")
    return "  ".join(parts)
