"""The whole soak test: measure the service's capacity, apply a share of it for a long time, and compare the records."""

import itertools
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bench.inference.benchmark import Log, prepare
from bench.inference.cases import CASES, MISSES
from bench.inference.expected import ExpectedLabels
from bench.inference.instances import instances
from bench.inference.machine import commit, machine, versions
from bench.inference.measure import PROBES, Duration, Measurement
from bench.inference.serving import RunningServer, ServingError
from bench.inference.soak.generator import LoadConfig
from bench.inference.soak.judge import Records, Sample, findings, flatness
from bench.inference.soak.result import Soak
from bench.inference.soak.watch import watch
from bench.inference.stores import BACKLOG, Database, scrape

# Three disjoint sequences of instances: of the capacity measurement, of the probes, and of the load.
_CAPACITY_SEED, _PROBE_SEED, _SEED = 99, 100, 101
_CAPACITY: Final = Duration(warm=3, measured=10)
_CAPACITY_CONNECTIONS: Final = 32
_DRAIN_SECONDS: Final = 600
_POLL_SECONDS: Final = 0.2
# A row with its index and write-ahead log, and a line of the access log.
_BYTES_A_REQUEST: Final = 1_500
_RESERVE: Final = 3 * 1024**3


@dataclass(frozen=True, slots=True)
class SoakConfig:
    """How long in s; at which rate, or at which share of what is measured; on how many connections at most."""

    seconds: float
    rate: float | None
    share: float
    connections: int


def soak(config: SoakConfig, log: Log) -> Soak:
    """Do it. Raises ServingError, LoadError, SubprocessError, and ValueError for a time too short to judge."""
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    case = CASES[MISSES]
    with prepare(_CAPACITY_CONNECTIONS, _CAPACITY_SEED, [case], log) as measurement:
        capacity = None if config.rate else _capacity(measurement, log)
        rate = config.rate or config.share * (capacity or 0)
        _require_disk_space(rate * config.seconds)
        log(f"{rate:,.0f} requests a second for {config.seconds / 60:g} minutes")
        with measurement.start_server(case) as (server, database):
            assert database is not None
            samples, records = _apply_load(server, database, config, rate, log)
    flat = flatness(samples, config.seconds)
    return Soak(
        commit=commit(),
        started_at=started_at,
        machine=machine(),
        versions=versions({case.server.environment}),
        seconds=config.seconds,
        connections=config.connections,
        capacity=capacity,
        rate=rate,
        flatness=flat,
        records=records,
        findings=findings(samples[-1], flat, records, rate, config.seconds),
        samples=samples,
    )


def _capacity(measurement: Measurement, log: Log) -> float:
    run = measurement.measure(CASES[MISSES], 0, _CAPACITY)
    if run.void:
        raise ServingError(f"the capacity could not be measured: {'; '.join(run.void)}")
    log(f"the capacity is {run.rate:,.0f} requests a second, none of them from a cache")
    return run.rate


def _require_disk_space(requests: float) -> None:
    folder = tempfile.gettempdir()
    free, needed = shutil.disk_usage(folder).free, requests * _BYTES_A_REQUEST + _RESERVE
    if free < needed:
        raise ServingError(
            f"{folder} has {free / 1e9:.0f} GB free, {needed / 1e9:.0f} are needed; TMPDIR names another"
        )


def _apply_load(
    server: RunningServer, database: Database, config: SoakConfig, rate: float, log: Log
) -> tuple[Sequence[Sample], Records]:
    probes = list(itertools.islice(instances(_PROBE_SEED), PROBES))
    server.wait_until_ready(probes[0])
    headers = tuple(f"{name}: {value}" for name, value in server.headers.items())
    load = LoadConfig(
        server.sandbox.ports[0],
        server.spec.request_format.path,
        rate,
        config.seconds,
        config.connections,
        _SEED,
        headers,
    )
    watched = watch(ExpectedLabels(), server, probes, load, log)
    drain_seconds = _wait_until_drained(server)
    log(f"the last record was written {drain_seconds:.1f} s after the last response; counting them")
    recorded, different = database.count_records()
    acknowledged = 1 + watched.probe_requests + watched.samples[-1].acknowledged
    return watched.samples, Records(acknowledged, recorded, different, drain_seconds)


def _wait_until_drained(server: RunningServer) -> float:
    started = time.monotonic()
    while waiting := scrape(server.sandbox.ports[1])[BACKLOG]:
        if time.monotonic() > started + _DRAIN_SECONDS:
            raise ServingError(f"{waiting:.0f} records still wait for the database")
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - started
