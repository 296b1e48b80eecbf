"""Runs the generator against a started service and samples both until the time is over."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

from bench.inference import procfs
from bench.inference.expected import ExpectedLabels
from bench.inference.histogram import percentile
from bench.inference.instances import Instance
from bench.inference.serving import RunningServer, ServingError
from bench.inference.soak.generator import STEP_MICROSECONDS, LoadConfig
from bench.inference.soak.judge import Sample
from bench.inference.stores import BACKLOG, scrape

SAMPLE_SECONDS: Final = 5
_LOG_SECONDS: Final = 60
_GRACE_SECONDS: Final = 60
Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class WatchResult:
    """The samples, and the number of probe predictions beside the load."""

    samples: list[Sample]
    probe_requests: int


class Reports:
    """The generator's output so far. Read by a thread, so that the generator never blocks on its output."""

    def __init__(self, output: IO[str]) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, Any] = {"sent": 0, "acknowledged": 0, "failed": 0}
        self._latencies: Counter[int] = Counter()
        self._thread = threading.Thread(target=self._read, args=(output,), daemon=True)
        self._thread.start()

    def take(self) -> tuple[dict[str, int], Counter[int]]:
        """The newest counts, and the latencies since the last call."""
        with self._lock:
            latencies, self._latencies = self._latencies, Counter()
            return self._last, latencies

    def finish(self) -> None:
        """Wait for the last line."""
        self._thread.join()

    def _read(self, output: IO[str]) -> None:
        for line in output:
            report = json.loads(line)
            latencies = report.pop("latencies")
            with self._lock:
                self._last = report
                self._latencies.update({int(step): count for step, count in latencies.items()})


def watch(
    expected: ExpectedLabels, server: RunningServer, probes: list[Instance], config: LoadConfig, log: Log
) -> WatchResult:
    """Load the service and sample it every SAMPLE_SECONDS, sending the probes each time.

    Raises ServingError when it dies, labels a probe wrongly, or does not sustain the rate.
    """
    samples: list[Sample] = []
    probe_requests = 0
    with _generator(config) as generator:
        assert generator.stdout is not None
        assert generator.stderr is not None
        reports = Reports(generator.stdout)
        start = time.monotonic()
        while generator.poll() is None:
            _wait(generator, start + SAMPLE_SECONDS * (len(samples) + 1) - time.monotonic())
            server.check_alive()
            expected.check(server, probes)
            probe_requests += len(probes)
            samples.append(_sample(server, reports, time.monotonic() - start))
            if len(samples) % (_LOG_SECONDS // SAMPLE_SECONDS) == 0:
                log(_line(samples[-1]))
            if time.monotonic() - start > config.seconds + _GRACE_SECONDS:
                raise ServingError("the generator does not end")
        if generator.returncode:
            raise ServingError(f"the generator failed: {generator.stderr.read()[-1_000:]}")
        reports.finish()
        samples.append(_sample(server, reports, time.monotonic() - start))
    return WatchResult(samples, probe_requests)


@contextlib.contextmanager
def _generator(config: LoadConfig) -> Iterator["subprocess.Popen[str]"]:
    command = [
        sys.executable, "-m", "bench.inference.soak.generator",
        "--port", str(config.port), "--path", config.path, "--rate", str(config.rate), "--seconds", str(config.seconds),
        "--connections", str(config.connections), "--seed", str(config.seed),
        *(part for header in config.headers for part in ("--header", header)),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _wait(generator: "subprocess.Popen[str]", seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        generator.wait(max(seconds, 0))


def _sample(server: RunningServer, reports: Reports, at: float) -> Sample:
    memory = procfs.memory(server.process.pid)
    counts, latencies = reports.take()
    return Sample(
        at=at,
        resident=memory.resident,
        proportional=memory.proportional,
        backlog=int(scrape(server.sandbox.ports[1])[BACKLOG]),
        sent=counts["sent"],
        acknowledged=counts["acknowledged"],
        failed=counts["failed"],
        p50_ms=_milliseconds(latencies, 50),
        p99_ms=_milliseconds(latencies, 99),
    )


def _milliseconds(latencies: Counter[int], share: float) -> float:
    return percentile(latencies, share) * STEP_MICROSECONDS / 1_000 if latencies else 0.0


def _line(sample: Sample) -> str:
    return (
        f"{sample.acknowledged:11,} answered, {sample.failed} failed, p99 {sample.p99_ms:6.1f} ms, "
        f"{sample.resident / 1_000_000:6.1f} MB, {sample.backlog:6,} records wait"
    )
