"""One measurement: start a server, check its labels, warm it up, load it, check the labels again, and stop it."""

import contextlib
import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.inference import load, procfs
from bench.inference.cases import REPEATED, Case
from bench.inference.expected import ExpectedLabels
from bench.inference.instances import instances
from bench.inference.load import Load
from bench.inference.run import RecordingResult, Run, void_reasons
from bench.inference.server import LOAD_CPU, SERVER_CPU, Sandbox
from bench.inference.serving import RunningServer, ServingError, run_server
from bench.inference.stores import BACKLOG, Database, Scraper, Stores, scrape
from support.servers.process import free_port

PROBES: Final = 20
# More than any server here answers on one core: how many distinct bodies must be prepared for a second.
_MOST_REQUESTS: Final = 100_000
_MOST_INSTANCES: Final = 1_500_000
_HEADROOM: Final = 1.6
_DRAIN_SECONDS: Final = 600
_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Duration:
    """Whole seconds of load: before the measurement, and in it."""

    warm: int
    measured: int


@dataclass(frozen=True, slots=True)
class _CpuReading:
    """The kernel's counters: ticks of both cores, and CPU seconds of the programs on them."""

    server: procfs.Ticks
    load: procfs.Ticks
    spent: Mapping[str, float]

    @classmethod
    def now(cls, server: RunningServer, database: Database | None) -> "_CpuReading":
        """Read them."""
        programs = {"server": server.process.pid, **(database.processes if database else {})}
        spent = {name: procfs.cpu_seconds(pid) for name, pid in programs.items()}
        return cls(
            procfs.ticks(SERVER_CPU), procfs.ticks(LOAD_CPU), {**spent, "wrk": procfs.cpu_seconds_of_ended_children()}
        )

    def shares(self, since: "_CpuReading", seconds: float) -> dict[str, float]:
        """How much of a core each program had."""
        return {name: (spent - since.spent[name]) / seconds for name, spent in self.spent.items()}


class Measurement:
    """Measures cases: holds a folder, the stores, and the sequence of unused instances."""

    def __init__(self, folder: Path, models: Path, stores: Stores, connections: int, seed: int) -> None:
        self._connections = connections
        self._folder = folder
        self._models = models
        self._stores = stores
        self._numbers = itertools.count(1)
        self._instances = instances(seed)
        self._repeated = list(itertools.islice(self._instances, REPEATED))
        self._expected = ExpectedLabels()

    def measure(self, case: Case, repetition: int, duration: Duration) -> Run:
        """Raises ServingError or LoadError when nothing could be measured; a run with errors is returned as void."""
        with self.start_server(case) as (server, database):
            probes = list(itertools.islice(self._instances, PROBES))
            answer = server.wait_until_ready(probes[0])
            self._expected.check(server, probes)
            warm = self._send_load(server, self._bodies(case, _max_requests(case) * duration.warm), duration.warm)
            bodies = self._bodies(case, int(warm.rate * _HEADROOM * duration.measured) + _max_requests(case))
            before = _CpuReading.now(server, database)
            with _scraped(server, database) as scraper:
                seen = self._send_load(server, bodies, duration.measured)
            after = _CpuReading.now(server, database)
            self._expected.check(server, probes)
            memory = procfs.memory(server.process.pid)
            asked = 1 + 2 * PROBES
            acknowledged = (warm.requests + seen.requests) * case.instances + asked
            behind = _wait_for_records(scraper, database, acknowledged) if scraper and database else None
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
            void=void_reasons(case, [warm, seen], behind, self._connections),
        )

    @contextlib.contextmanager
    def start_server(self, case: Case) -> Iterator[tuple[RunningServer, Database | None]]:
        """The case's server, just started, and the database behind it when it has one."""
        with contextlib.ExitStack() as around:
            database = around.enter_context(self._stores.running()) if case.server.has_stores else None
            variables: Mapping[str, str] = database.variables if database else {}
            headers = {"Authorization": f"Bearer {database.create_key()}"} if database else {}
            folder = self._folder / f"{next(self._numbers):03}-{case.name}"
            place = Sandbox((free_port(), free_port(), free_port()), folder, self._models)
            yield around.enter_context(run_server(case.server, place, variables, headers)), database

    def _send_load(self, server: RunningServer, bodies: Path, seconds: int) -> Load:
        try:
            return load.send(server.target, bodies, connections=self._connections, seconds=seconds)
        finally:
            bodies.unlink()
            server.check_alive()

    def _bodies(self, case: Case, requests: int) -> Path:
        """A file with a body for each request, or with a few that are sent again and again."""
        path = self._folder / "bodies"
        asked = itertools.islice(self._instances, requests * case.instances) if case.distinct else iter(self._repeated)
        with path.open("wb") as file:
            while batch := list(itertools.islice(asked, case.instances)):
                file.write(case.server.request_format.encode(batch) + b"\n")
        return path


def _max_requests(case: Case) -> int:
    return min(_MOST_REQUESTS, _MOST_INSTANCES // case.instances)


@contextlib.contextmanager
def _scraped(server: RunningServer, database: Database | None) -> Iterator[Scraper | None]:
    """Our service is scraped while it works, as in a cluster."""
    if database is None:
        yield None
        return
    scraper = Scraper(server.sandbox.ports[1])
    with scraper.running():
        yield scraper


def _wait_for_records(scraper: Scraper, database: Database, acknowledged: int) -> RecordingResult:
    """Wait until every record is in the database. Raises ServingError when that takes too long."""
    started = time.monotonic()
    metrics = scrape(scraper.port)
    largest = max(scraper.largest_backlog, metrics[BACKLOG])
    while metrics[BACKLOG]:
        if time.monotonic() > started + _DRAIN_SECONDS:
            raise ServingError(f"{metrics[BACKLOG]:.0f} records still wait for the database")
        time.sleep(_POLL_SECONDS)
        metrics = scrape(scraper.port)
    drained = time.monotonic() - started
    recorded, different = database.count_records()
    return RecordingResult(scraper.hit_share, int(largest), drained, recorded, different, acknowledged)
