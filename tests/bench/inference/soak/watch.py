"""Runs the generator against a started service and looks at both until the time is over."""

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
from bench.inference.flowers import Flower
from bench.inference.histogram import percentile
from bench.inference.serving import Server, ServingError
from bench.inference.soak.generator import STEP_MICROSECONDS, Order
from bench.inference.soak.judge import Sample
from bench.inference.stores import WAITING, scrape
from bench.inference.truth import Truth

SAMPLE_SECONDS: Final = 5
_TELL_SECONDS: Final = 60
_GRACE_SECONDS: Final = 60
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Watched:
    """The samples, and how many flowers were asked about beside the load."""

    samples: list[Sample]
    probed: int


class Reports:
    """What the generator has written so far. Read by a thread, so that it never waits for us."""

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


def watch(truth: Truth, server: Server, probes: list[Flower], order: Order, say: Say) -> Watched:
    """Load the service and sample it every SAMPLE_SECONDS, asking it the probes each time.

    Raises ServingError when it dies, labels a probe wrongly, or does not hold the rate.
    """
    samples: list[Sample] = []
    probed = 0
    with _generator(order) as generator:
        assert generator.stdout is not None
        assert generator.stderr is not None
        reports = Reports(generator.stdout)
        start = time.monotonic()
        while generator.poll() is None:
            _wait(generator, start + SAMPLE_SECONDS * (len(samples) + 1) - time.monotonic())
            server.check_alive()
            truth.check(server, probes)
            probed += len(probes)
            samples.append(_sample(server, reports, time.monotonic() - start))
            if len(samples) % (_TELL_SECONDS // SAMPLE_SECONDS) == 0:
                say(_line(samples[-1]))
            if time.monotonic() - start > order.seconds + _GRACE_SECONDS:
                raise ServingError("the generator does not end")
        if generator.returncode:
            raise ServingError(f"the generator gave up: {generator.stderr.read()[-1_000:]}")
        reports.finish()
        samples.append(_sample(server, reports, time.monotonic() - start))
    return Watched(samples, probed)


@contextlib.contextmanager
def _generator(order: Order) -> Iterator["subprocess.Popen[str]"]:
    command = [
        sys.executable, "-m", "bench.inference.soak.generator",
        "--port", str(order.port), "--path", order.path, "--rate", str(order.rate), "--seconds", str(order.seconds),
        "--connections", str(order.connections), "--seed", str(order.seed),
        *(part for header in order.headers for part in ("--header", header)),
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


def _sample(server: Server, reports: Reports, at: float) -> Sample:
    memory = procfs.memory(server.process.pid)
    counts, latencies = reports.take()
    return Sample(
        at=at,
        resident=memory.resident,
        proportional=memory.proportional,
        backlog=int(scrape(server.place.ports[1])[WAITING]),
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
