"""The result of one measurement, and the reasons why it must not be used."""

from dataclasses import dataclass

from bench.inference.cases import Case
from bench.inference.load import Load
from bench.inference.procfs import Memory, Usage


@dataclass(frozen=True, slots=True)
class RecordingResult:
    """How our service recorded the predictions.

    `hit_share` is the hit rate of the local cache, `largest_backlog` the most records that waited for the database,
    `drain_seconds` how long after the load the last of them was stored.
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

    `shares` are the CPU shares of each program on its core. When `server` is well below 1, the load did not saturate
    it, or another process was running there.
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
    behind: RecordingResult | None
    void: list[str]


def void_reasons(case: Case, loads: list[Load], behind: RecordingResult | None, connections: int) -> list[str]:
    """The reasons why a measurement must not be used; normally none."""
    found = [f"{load.failed} of {load.requests} requests failed: {load.errors}" for load in loads if load.failed]
    if case.distinct:
        found += [f"only {load.bodies} bodies for {load.made} requests" for load in loads if not load.all_distinct]
    if behind:
        found += _record_mismatches(behind, len(loads) * connections * case.instances)
        found += _cache_mismatches(case, behind.hit_share)
    return found


def _record_mismatches(behind: RecordingResult, unanswered: int) -> list[str]:
    """wrk ends with a pending request on each connection, which may be recorded but is not counted as answered."""
    if behind.recorded != behind.different:
        return [f"{behind.recorded - behind.different} predictions were recorded twice"]
    if not behind.acknowledged <= behind.recorded <= behind.acknowledged + unanswered:
        return [f"{behind.acknowledged} predictions were acknowledged and {behind.recorded} recorded"]
    return []


def _cache_mismatches(case: Case, hit_share: float) -> list[str]:
    # The probes are sent twice, and the repeated instances are new once.
    if case.distinct and hit_share > 0.01:
        return [f"{hit_share:.1%} of the instances were in the cache"]
    if not case.distinct and hit_share < 0.9:
        return [f"only {hit_share:.1%} of the instances were in the cache"]
    return []
