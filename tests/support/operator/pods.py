"""Pods as Prometheus scrapes them: a page of counters each."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from support.servers.http_pages import serve_pages

DURATIONS = "inference_request_duration_seconds_bucket"
SECONDS = "inference_request_duration_seconds_sum"
# Seconds that a request takes: whole parts of a power of two, so that sums are exact.
FAST, SLOW = 1 / 128, 1 / 16

Label = tuple[str, str, str]
"""Metric, name of its label, value of the label."""

# The values of a feature by bin of the training data: up to 1.5 cm there are four in ten of it, and none above 7.
PETALS: Sequence[Label] = [
    ("model_feature_values_total", f'feature="petal_length",up_to="{up_to}",training_share', share)
    for up_to, share in (("1.5", "0.4"), ("7.0", "0.6"), ("+Inf", "0"))
]
# Every label at 0 from the start, as the service has it.
ZERO: Mapping[Label, float] = {
    **{("inference_requests_total", "code", code): 0 for code in ("200", "422", "500")},
    **{(DURATIONS, f'cache="{tier}",le', bound): 0 for tier in ("local", "none") for bound in ("0.01", "0.1", "+Inf")},
    **{(SECONDS, "cache", tier): 0 for tier in ("local", "none")},
    ("model_inference_failures_total", "reason", "timeout"): 0,
    **{("model_predictions_total", "class", name): 0 for name in ("setosa", "virginica")},
    **{("model_feedback_total", "outcome", outcome): 0 for outcome in ("correct", "incorrect")},
    **dict.fromkeys(PETALS, 0),
}


@dataclass
class Pod:
    """Counters that a test raises; `changed` is notified of every scrape."""

    labels: Mapping[str, str]
    counters: dict[Label, float] = field(default_factory=lambda: dict(ZERO))
    scrapes: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)
    address: str = ""
    more: Callable[[], str] = str
    """Further lines of its page."""

    def serve(
        self, requests: int, errors: int = 0, slow: int = 0, wrong: int = 0, huge: int = 0, cached: int = 0
    ) -> None:
        """So many requests: `slow` of them over 10 ms, one prediction each but for `errors`, labels for all.

        Petals are short, but for `huge` ones. What is `cached` is not slow.
        """
        right, computed = requests - errors, requests - cached
        counted: dict[Label, float] = {
            ("inference_requests_total", "code", "200"): right,
            ("inference_requests_total", "code", "500"): errors,
            (DURATIONS, 'cache="none",le', "0.01"): computed - slow,
            **{(DURATIONS, 'cache="none",le', bound): computed for bound in ("0.1", "+Inf")},
            **{(DURATIONS, 'cache="local",le', bound): cached for bound in ("0.01", "0.1", "+Inf")},
            (SECONDS, "cache", "none"): (computed - slow) * FAST + slow * SLOW,
            (SECONDS, "cache", "local"): cached * FAST,
            ("model_inference_failures_total", "reason", "timeout"): errors,
            ("model_predictions_total", "class", "setosa"): right,
            ("model_feedback_total", "outcome", "correct"): right - wrong,
            ("model_feedback_total", "outcome", "incorrect"): wrong,
            PETALS[0]: requests - huge,
            PETALS[2]: huge,
        }
        # Another dictionary: the page may be read just now, and has all of it or nothing.
        self.counters = {label: n + counted.get(label, 0) for label, n in self.counters.items()}

    def compared(self, metric: str, canary: str, **results: int) -> None:
        """Add results of mirrored requests, of pairs or of labels, as this pod counts them by canary."""
        self._count(metric, "canary", canary, "result", results)

    def relay(self, made_by: str, **outcomes: int) -> None:
        """Add labels for predictions of another revision."""
        self._count("model_feedback_relayed_total", "made_by", made_by, "outcome", outcomes)

    def _count(self, metric: str, label: str, value: str, results: str, more: Mapping[str, int]) -> None:
        counted = {(metric, f'{label}="{value}",{results}', result): count for result, count in more.items()}
        # See `serve`.
        self.counters = {**self.counters, **{key: self.counters.get(key, 0) + n for key, n in counted.items()}}

    def restart(self) -> None:
        """Restart the process: all counters from 0."""
        self.counters = dict(ZERO)

    @property
    def target(self) -> dict[str, Any]:
        """The static configuration of a scrape job."""
        return {"targets": [self.address], "labels": {**self.labels, "__metrics_path__": f"/{self.labels['pod']}"}}

    def page(self) -> str:
        """What Prometheus reads."""
        with self.changed:
            self.scrapes += 1
            self.changed.notify_all()
            own = [f'{name}{{{label}="{value}"}} {n}\n' for (name, label, value), n in dict(self.counters).items()]
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

    with serve_pages("text/plain; version=0.0.4", lambda path: pages[path].page().encode()) as address:
        for pod in pods:
            pod.address = address
        yield
