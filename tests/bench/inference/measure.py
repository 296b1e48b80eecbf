"""One measurement: start a server, see that it is right, warm it up, load it, see that it still is, and end it."""

import contextlib
import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.inference import load, procfs
from bench.inference.cases import REPEATED, Case
from bench.inference.contestant import LOAD_CPU, SERVER_CPU, Place
from bench.inference.flowers import flowers
from bench.inference.load import Load
from bench.inference.run import Behind, Run, objections
from bench.inference.serving import Server, ServingError, serving
from bench.inference.stores import WAITING, Database, Scraper, Stores, scrape
from bench.inference.truth import Truth
from integration.harness.process import free_port

PROBES: Final = 20
# More than any server here answers on one core: how many different bodies must be ready for a second.
_MOST_REQUESTS: Final = 40_000
_MOST_FLOWERS: Final = 500_000
_SPARE: Final = 1.6
_DRAIN_SECONDS: Final = 600
_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Duration:
    """Whole seconds of load: before the measurement, and in it."""

    warm: int
    measured: int


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the kernel has counted until now: of both cores, and of what runs on them in seconds."""

    server: procfs.Ticks
    load: procfs.Ticks
    spent: Mapping[str, float]

    @classmethod
    def now(cls, server: Server, database: Database | None) -> "_Reading":
        """Read them."""
        programs = {"server": server.process.pid, **(database.processes if database else {})}
        spent = {name: procfs.spent(pid) for name, pid in programs.items()}
        return cls(procfs.ticks(SERVER_CPU), procfs.ticks(LOAD_CPU), {**spent, "wrk": procfs.spent_by_the_ended()})

    def shares(self, since: "_Reading", seconds: float) -> dict[str, float]:
        """How much of a core each program had."""
        return {name: (spent - since.spent[name]) / seconds for name, spent in self.spent.items()}


class Bench:
    """The place of all measurements: a folder, the stores, and the flowers that were not asked about yet."""

    def __init__(self, folder: Path, models: Path, stores: Stores, connections: int, seed: int) -> None:
        self._connections = connections
        self._folder = folder
        self._models = models
        self._stores = stores
        self._numbers = itertools.count(1)
        self._flowers = flowers(seed)
        self._repeated = list(itertools.islice(self._flowers, REPEATED))
        self._truth = Truth()

    def measure(self, case: Case, repetition: int, duration: Duration) -> Run:
        """Raises ServingError or LoadError when nothing could be measured; a run with errors is returned as void."""
        with self.started(case) as (server, database):
            probes = list(itertools.islice(self._flowers, PROBES))
            answer = server.await_ready(probes[0])
            self._truth.check(server, probes)
            warm = self._send(server, self._bodies(case, _most(case) * duration.warm), duration.warm)
            bodies = self._bodies(case, int(warm.rate * _SPARE * duration.measured) + _most(case))
            before = _Reading.now(server, database)
            with _scraped(server, database) as scraper:
                seen = self._send(server, bodies, duration.measured)
            after = _Reading.now(server, database)
            self._truth.check(server, probes)
            memory = procfs.memory(server.process.pid)
            asked = 1 + 2 * PROBES
            acknowledged = (warm.requests + seen.requests) * case.instances + asked
            behind = _behind(scraper, database, acknowledged) if scraper and database else None
        return Run(
            case=case.name,
            repetition=repetition,
            seconds=seen.seconds,
            requests=seen.requests,
            rate=seen.rate,
            predictions_rate=seen.rate * case.instances,
            p50_ms=seen.milliseconds(50),
            p99_ms=seen.milliseconds(99),
            p999_ms=seen.milliseconds(99.9),
            max_ms=seen.milliseconds(100),
            errors=seen.errors,
            answer_bytes=len(answer),
            shares=after.shares(before, seen.seconds),
            server_core=procfs.usage(before.server, after.server),
            load_core=procfs.usage(before.load, after.load),
            memory=memory,
            behind=behind,
            void=objections(case, [warm, seen], behind, self._connections),
        )

    @contextlib.contextmanager
    def started(self, case: Case) -> Iterator[tuple[Server, Database | None]]:
        """The case's server, just started, and the database behind it when it has one."""
        with contextlib.ExitStack() as around:
            database = around.enter_context(self._stores.running()) if case.contestant.has_stores else None
            variables: Mapping[str, str] = database.variables if database else {}
            headers = {"Authorization": f"Bearer {database.new_key()}"} if database else {}
            folder = self._folder / f"{next(self._numbers):03}-{case.name}"
            place = Place((free_port(), free_port(), free_port()), folder, self._models)
            yield around.enter_context(serving(case.contestant, place, variables, headers)), database

    def _send(self, server: Server, bodies: Path, seconds: int) -> Load:
        try:
            return load.send(server.target, bodies, connections=self._connections, seconds=seconds)
        finally:
            bodies.unlink()
            server.check_alive()

    def _bodies(self, case: Case, requests: int) -> Path:
        """A file with a body for each request, or with a few that are sent again and again."""
        path = self._folder / "bodies"
        asked = itertools.islice(self._flowers, requests * case.instances) if case.distinct else iter(self._repeated)
        with path.open("wb") as file:
            while batch := list(itertools.islice(asked, case.instances)):
                file.write(case.contestant.form.body(batch) + b"\n")
        return path


def _most(case: Case) -> int:
    return min(_MOST_REQUESTS, _MOST_FLOWERS // case.instances)


@contextlib.contextmanager
def _scraped(server: Server, database: Database | None) -> Iterator[Scraper | None]:
    """Our service's metrics are asked for while it works, as they are in a cluster."""
    if database is None:
        yield None
        return
    scraper = Scraper(server.place.ports[1])
    with scraper.running():
        yield scraper


def _behind(scraper: Scraper, database: Database, acknowledged: int) -> Behind:
    """Wait until every record is in the database. Raises ServingError when that takes too long."""
    started = time.monotonic()
    metrics = scrape(scraper.port)
    largest = max(scraper.largest_backlog, metrics[WAITING])
    while metrics[WAITING]:
        if time.monotonic() > started + _DRAIN_SECONDS:
            raise ServingError(f"{metrics['prediction_backlog_records']:.0f} records still wait for the database")
        time.sleep(_POLL_SECONDS)
        metrics = scrape(scraper.port)
    drained = time.monotonic() - started
    recorded, different = database.recorded()
    return Behind(scraper.hit_share, int(largest), drained, recorded, different, acknowledged)
