"""Pods as Prometheus sees them: a page of counters each."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DURATIONS = "inference_request_duration_seconds_bucket"

Label = tuple[str, str, str]
"""Metric, name of its label, value of the label."""

# The values of a feature by bin of the training data: up to 1.5 cm there are four in ten of it, and none above 7.
PETALS: Sequence[Label] = [
    ("model_feature_values_total", f'feature="petal_length",up_to="{up_to}",training_share', share)
    for up_to, share in (("1.5", "0.4"), ("7.0", "0.6"), ("+Inf", "0"))
]
# Every label at 0 from the start, as the service has it.
ZERO: Mapping[Label, int] = {
    **{("inference_requests_total", "code", code): 0 for code in ("200", "422", "500")},
    **{(DURATIONS, f'cache="{tier}",le', bound): 0 for tier in ("local", "none") for bound in ("0.01", "0.1", "+Inf")},
    ("model_inference_failures_total", "reason", "timeout"): 0,
    **{("model_predictions_total", "class", name): 0 for name in ("setosa", "virginica")},
    **{("model_feedback_total", "outcome", outcome): 0 for outcome in ("correct", "incorrect")},
    **dict.fromkeys(PETALS, 0),
}


@dataclass
class Pod:
    """Counters that a test raises; `scraped` is told of every read."""

    labels: Mapping[str, str]
    counters: dict[Label, int] = field(default_factory=lambda: dict(ZERO))
    scrapes: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)
    address: str = ""
    more: Callable[[], str] = str
    """What else is on its page."""

    def serve(
        self, requests: int, errors: int = 0, slow: int = 0, wrong: int = 0, huge: int = 0, cached: int = 0
    ) -> None:
        """So many requests: `slow` of them over 10 ms, one prediction each but for `errors`, labels for all.

        Petals are short, but for `huge` ones. What is `cached` is not slow.
        """
        right, computed = requests - errors, requests - cached
        for label, more in {
            ("inference_requests_total", "code", "200"): right,
            ("inference_requests_total", "code", "500"): errors,
            (DURATIONS, 'cache="none",le', "0.01"): computed - slow,
            **{(DURATIONS, 'cache="none",le', bound): computed for bound in ("0.1", "+Inf")},
            **{(DURATIONS, 'cache="local",le', bound): cached for bound in ("0.01", "0.1", "+Inf")},
            ("model_inference_failures_total", "reason", "timeout"): errors,
            ("model_predictions_total", "class", "setosa"): right,
            ("model_feedback_total", "outcome", "correct"): right - wrong,
            ("model_feedback_total", "outcome", "incorrect"): wrong,
            PETALS[0]: requests - huge,
            PETALS[2]: huge,
        }.items():
            if label in self.counters:
                self.counters[label] += more

    def compared(self, metric: str, canary: str, **results: int) -> None:
        """So many copies, pairs or labels more, of which this pod tells the results by canary."""
        self._count(metric, "canary", canary, "result", results)

    def relay(self, made_by: str, **outcomes: int) -> None:
        """So many labels more for predictions of another revision."""
        self._count("model_feedback_relayed_total", "made_by", made_by, "outcome", outcomes)

    def _count(self, metric: str, label: str, value: str, results: str, more: Mapping[str, int]) -> None:
        counted = {(metric, f'{label}="{value}",{results}', result): count for result, count in more.items()}
        # Another dictionary: the page may be read just now.
        self.counters = {**self.counters, **{key: self.counters.get(key, 0) + n for key, n in counted.items()}}

    def restart(self) -> None:
        """The process is another one: everything from 0."""
        self.counters = dict(ZERO)

    @property
    def requests(self) -> int:
        """All that it has counted since its process began."""
        return sum(n for (name, _, _), n in self.counters.items() if name == "inference_requests_total")

    @property
    def target(self) -> dict[str, Any]:
        """The static configuration of a scrape job."""
        return {"targets": [self.address], "labels": {**self.labels, "__metrics_path__": f"/{self.labels['pod']}"}}

    def page(self) -> str:
        """What Prometheus reads."""
        with self.changed:
            self.scrapes += 1
            self.changed.notify_all()
            own = [f'{name}{{{label}="{value}"}} {n}\n' for (name, label, value), n in self.counters.items()]
            return "".join(own) + self.more()


def await_scrapes(*pods: Pod, more: int = 2) -> None:
    """Until each was read so often again. When a read begins, the one before it has been stored."""
    wanted = [pod.scrapes + more for pod in pods]
    for pod, scrapes in zip(pods, wanted, strict=True):
        with pod.changed:
            enough = pod.changed.wait_for(functools.partial(_read, pod, scrapes), timeout=50)
            assert enough, "Prometheus does not scrape"


def _read(pod: Pod, scrapes: int) -> bool:
    return pod.scrapes >= scrapes


@contextmanager
def running(*pods: Pod) -> Iterator[None]:
    """Serve the pages of these pods, each on a path of its own."""
    pages = {f"/{pod.labels['pod']}": pod for pod in pods}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages[self.path].page().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    for pod in pods:
        pod.address = f"127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
