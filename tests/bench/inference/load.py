"""Closed-loop load by wrk: each of a fixed number of connections sends its next request after each response."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.inference.histogram import percentile, without_synthetic

_SCRIPT: Final = Path(__file__).with_name("load.lua")
_REPORT: Final = "REPORT "
# Longer than any response takes; what exceeds it counts as an error.
TIMEOUT_SECONDS: Final = 20
_GRACE_SECONDS: Final = 60


class LoadError(Exception):
    """The load generator failed, or its report is inconsistent."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the load goes: a URL on loopback, the type of the bodies, and further headers."""

    url: str
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Load:
    """The result of one run of wrk. Latencies in microseconds, without the synthetic ones that wrk adds."""

    requests: int
    seconds: float
    made: int
    bodies: int
    errors: dict[str, int]
    latencies: dict[int, int]

    @property
    def rate(self) -> float:
        """Responses a second."""
        return self.requests / self.seconds

    @property
    def failed(self) -> int:
        """Requests that were refused, lost, late, or answered with a status of 400 and up."""
        return sum(self.errors.values())

    @property
    def all_distinct(self) -> bool:
        """Whether no body was sent twice."""
        return self.made <= self.bodies

    def milliseconds(self, share: float) -> float:
        """The latency that `share` per cent of the responses did not exceed."""
        return percentile(self.latencies, share) / 1_000


def send(target: Target, bodies: Path, *, connections: int, seconds: int) -> Load:
    """Run wrk for whole `seconds` with the lines of `bodies`. Raises LoadError."""
    headers = [part for name, value in target.headers for part in ("--header", f"{name}: {value}")]
    command = [
        "wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s",
        "--timeout", f"{TIMEOUT_SECONDS}s", *headers, "--script", str(_SCRIPT), target.url,
        "--", str(bodies), target.content_type,
    ]  # fmt: skip
    if shutil.which(command[0]) is None:
        raise LoadError("wrk is not installed. Run: make packages")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + _GRACE_SECONDS)
    if done.returncode:
        raise LoadError(f"wrk exited with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return parse(done.stdout, connections)


def parse(output: str, connections: int) -> Load:
    """Parse the report that load.lua wrote among wrk's own output. Raises LoadError."""
    lines = [line.removeprefix(_REPORT) for line in output.splitlines() if line.startswith(_REPORT)]
    if len(lines) != 1:
        raise LoadError(f"wrk wrote no report: {output.strip()!r}")
    report: Mapping[str, Any] = json.loads(lines[0])
    requests, microseconds = int(report["requests"]), int(report["microseconds"])
    if requests < connections:
        raise LoadError(f"{requests} answers on {connections} connections are too few to tell anything")
    errors = {kind: int(count) for kind, count in report["errors"].items()}
    # The interval as wrk calculates it, in whole numbers as well.
    interval = microseconds // (requests // connections)
    reported = {int(latency): int(count) for latency, count in report["latencies"].items()}
    try:
        latencies = without_synthetic(reported, interval)
    except ValueError as error:
        raise LoadError(f"wrk's latencies contradict each other: {error}") from error
    if (measured := sum(latencies.values())) != requests - errors.get("timeout", 0):
        raise LoadError(f"wrk reports {requests} answers and {measured} latencies")
    return Load(requests, microseconds / 1_000_000, int(report["made"]), int(report["bodies"]), errors, latencies)
