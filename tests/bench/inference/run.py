"""What one measurement saw, and what speaks against using it."""

from dataclasses import dataclass

from bench.inference.cases import Case
from bench.inference.load import Load
from bench.inference.procfs import Memory, Usage


@dataclass(frozen=True, slots=True)
class Behind:
    """What our service left to do when the load ended, and what became of it.

    `hit_share` is the share of flowers that the nearer cache knew, `largest_backlog` the most records that were seen to
    wait, `drain_seconds` how long after the load the last of them was in the database.
    """

    hit_share: float
    largest_backlog: int
    drain_seconds: float
    recorded: int
    different: int
    acknowledged: int


@dataclass(frozen=True, slots=True)
class Run:
    """Latencies in ms, memory in bytes, usage of cores in shares of 1. A void run counts for nothing.

    `shares` are what each program had of its core. Less than nearly all of it for `server` means that the load did not
    keep it busy, or that somebody else was there.
    """

    case: str
    repetition: int
    seconds: float
    requests: int
    rate: float
    predictions_rate: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    errors: dict[str, int]
    answer_bytes: int
    shares: dict[str, float]
    server_core: Usage
    load_core: Usage
    memory: Memory
    behind: Behind | None
    void: list[str]


def objections(case: Case, loads: list[Load], behind: Behind | None, connections: int) -> list[str]:
    """Why a measurement must not be used: nothing, normally."""
    found = [f"{load.failed} of {load.requests} requests failed: {load.errors}" for load in loads if load.failed]
    if case.distinct:
        found += [f"only {load.bodies} bodies for {load.made} requests" for load in loads if not load.all_distinct]
    if behind:
        found += _objections_to_records(behind, len(loads) * connections * case.instances)
        found += _objections_to_hits(case, behind.hit_share)
    return found


def _objections_to_records(behind: Behind, unanswered: int) -> list[str]:
    """wrk ends with a request on each connection, which may be recorded and is not counted as answered."""
    if behind.recorded != behind.different:
        return [f"{behind.recorded - behind.different} predictions were recorded twice"]
    if not behind.acknowledged <= behind.recorded <= behind.acknowledged + unanswered:
        return [f"{behind.acknowledged} predictions were acknowledged and {behind.recorded} recorded"]
    return []


def _objections_to_hits(case: Case, hit_share: float) -> list[str]:
    # The probes are asked twice, and the repeated flowers are new once.
    if case.distinct and hit_share > 0.01:
        return [f"{hit_share:.1%} of the flowers were known to the cache"]
    if not case.distinct and hit_share < 0.9:
        return [f"only {hit_share:.1%} of the flowers were known to the cache"]
    return []
