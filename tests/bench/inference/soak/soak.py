"""The whole soak: find out what the service can answer, give it a share of that for long, and count what is left."""

import itertools
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bench.inference.benchmark import Say, bench
from bench.inference.cases import CASES, MISSES
from bench.inference.flowers import flowers
from bench.inference.machine import commit, machine, versions
from bench.inference.measure import PROBES, Bench, Duration
from bench.inference.serving import Server, ServingError
from bench.inference.soak.generator import Order
from bench.inference.soak.judge import Records, Sample, findings, flatness
from bench.inference.soak.result import Soak
from bench.inference.soak.watch import watch
from bench.inference.stores import WAITING, Database, scrape
from bench.inference.truth import Truth

# Three walks through the flowers that do not meet: of the measurement before, of the probes, and of the load.
_CAPACITY_SEED, _PROBE_SEED, _SEED = 99, 100, 101
_CAPACITY: Final = Duration(warm=3, measured=10)
_CAPACITY_CONNECTIONS: Final = 32
_DRAIN_SECONDS: Final = 600
_POLL_SECONDS: Final = 0.2
# A row with its index and the log of changes, and a line of the request log.
_BYTES_A_REQUEST: Final = 1_500
_RESERVE: Final = 3 * 1024**3


@dataclass(frozen=True, slots=True)
class Plan:
    """How long in s; at which rate, or at which share of what is measured; on how many connections at most."""

    seconds: float
    rate: float | None
    share: float
    connections: int


def soak(plan: Plan, say: Say) -> Soak:
    """Do it. Raises ServingError, LoadError, SubprocessError, and ValueError for a time too short to judge."""
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    case = CASES[MISSES]
    with bench(_CAPACITY_CONNECTIONS, _CAPACITY_SEED, [case], say) as place:
        capacity = None if plan.rate else _capacity(place, say)
        rate = plan.rate or plan.share * (capacity or 0)
        _see_that_it_fits(rate * plan.seconds)
        say(f"{rate:,.0f} requests a second for {plan.seconds / 60:g} minutes")
        with place.started(case) as (server, database):
            assert database is not None
            samples, records = _loaded(server, database, plan, rate, say)
    flat = flatness(samples, plan.seconds)
    return Soak(
        commit=commit(),
        started_at=started_at,
        machine=machine(),
        versions=versions({case.contestant.environment}),
        seconds=plan.seconds,
        connections=plan.connections,
        capacity=capacity,
        rate=rate,
        flatness=flat,
        records=records,
        findings=findings(samples[-1], flat, records, rate, plan.seconds),
        samples=samples,
    )


def _capacity(place: Bench, say: Say) -> float:
    run = place.measure(CASES[MISSES], 0, _CAPACITY)
    if run.void:
        raise ServingError(f"what it can answer could not be measured: {'; '.join(run.void)}")
    say(f"it answers {run.rate:,.0f} requests a second, none of them from a cache")
    return run.rate


def _see_that_it_fits(requests: float) -> None:
    folder = tempfile.gettempdir()
    free, needed = shutil.disk_usage(folder).free, requests * _BYTES_A_REQUEST + _RESERVE
    if free < needed:
        raise ServingError(
            f"{folder} has {free / 1e9:.0f} GB free, {needed / 1e9:.0f} are needed; TMPDIR names another"
        )


def _loaded(server: Server, database: Database, plan: Plan, rate: float, say: Say) -> tuple[Sequence[Sample], Records]:
    probes = list(itertools.islice(flowers(_PROBE_SEED), PROBES))
    server.await_ready(probes[0])
    headers = tuple(f"{name}: {value}" for name, value in server.headers.items())
    order = Order(
        server.place.ports[0], server.contestant.form.path, rate, plan.seconds, plan.connections, _SEED, headers
    )
    watched = watch(Truth(), server, probes, order, say)
    drain_seconds = _drained(server)
    say(f"the last record was written {drain_seconds:.1f} s after the last answer; counting them")
    recorded, different = database.recorded()
    acknowledged = 1 + watched.probed + watched.samples[-1].acknowledged
    return watched.samples, Records(acknowledged, recorded, different, drain_seconds)


def _drained(server: Server) -> float:
    started = time.monotonic()
    while waiting := scrape(server.place.ports[1])[WAITING]:
        if time.monotonic() > started + _DRAIN_SECONDS:
            raise ServingError(f"{waiting:.0f} records still wait for the database")
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - started
