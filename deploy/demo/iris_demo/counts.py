"""Counting samples: how many, of which kind, from which version, how slow. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from iris_demo.samples import Kind, Label, LabelOutcome, Sample

NO_ANSWER = "none"


@dataclass(frozen=True)
class Totals:
    """Counts of a set of samples; ``failed`` maps a kind of failure to its count."""

    sent: int = 0
    ok: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    by_version: dict[str, int] = field(default_factory=dict)
    failed_by_version: dict[str, int] = field(default_factory=dict)

    @property
    def failures(self) -> int:
        """Failed requests of every kind."""
        return sum(self.failed.values())


@dataclass(frozen=True)
class LabelCounts:
    """True labels that were sent back for one version's predictions, by outcome."""

    correct: int = 0
    incorrect: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Second:
    """One second of the history, ``at`` whole seconds after the start."""

    at: int
    sent: int
    failed: int
    by_version: dict[str, int]


def totals(samples: Iterable[Sample]) -> Totals:
    """Count every sample once."""
    sent = 0
    failed: Counter[str] = Counter()
    by_version: Counter[str] = Counter()
    failed_by_version: Counter[str] = Counter()
    for sample in samples:
        sent += 1
        version = sample.version or NO_ANSWER
        by_version[version] += 1
        if not sample.ok:
            failed[failure_name(sample)] += 1
            failed_by_version[version] += 1
    return Totals(
        sent=sent,
        ok=sent - failed.total(),
        failed=dict(sorted(failed.items())),
        by_version=dict(sorted(by_version.items())),
        failed_by_version=dict(sorted(failed_by_version.items())),
    )


def labels_by_version(labels: Iterable[Label]) -> dict[str, LabelCounts]:
    """Count every label once."""
    outcomes: dict[str, Counter[LabelOutcome]] = {}
    for label in labels:
        outcomes.setdefault(label.version, Counter())[label.outcome] += 1
    return {
        version: LabelCounts(counted[LabelOutcome.CORRECT], counted[LabelOutcome.INCORRECT], counted[LabelOutcome.LOST])
        for version, counted in sorted(outcomes.items())
    }


def failure_name(sample: Sample) -> str:
    """``connect``, ``timeout``, or the status as in ``status 500``."""
    return f"status {sample.status}" if sample.kind is Kind.STATUS else str(sample.kind)


def between(samples: Iterable[Sample], start: float, end: float) -> list[Sample]:
    """Samples that were due from ``start`` to before ``end``, Unix times in seconds."""
    return [sample for sample in samples if start <= sample.scheduled < end]


def per_second(samples: Iterable[Sample], start: float) -> list[Second]:
    """Counts by the second in which the request was due, first second first."""
    buckets: dict[int, list[Sample]] = {}
    for sample in samples:
        buckets.setdefault(int(sample.scheduled - start), []).append(sample)
    history = []
    for at, bucket in sorted(buckets.items()):
        counted = totals(bucket)
        history.append(Second(at, counted.sent, counted.failures, counted.by_version))
    return history


def latency_quantile(samples: Iterable[Sample], share: float) -> float | None:
    """The latency in seconds that ``share`` of the answered requests did not exceed."""
    latencies = sorted(sample.latency for sample in samples if sample.version)
    if not latencies:
        return None
    return latencies[min(int(share * len(latencies)), len(latencies) - 1)]


def lateness_quantile(samples: Iterable[Sample], share: float) -> float | None:
    """The seconds by which ``share`` of the requests were sent at most later than they were due."""
    late = sorted(sample.late for sample in samples)
    return late[min(int(share * len(late)), len(late) - 1)] if late else None


def answered_by(samples: Iterable[Sample], version: str) -> list[Sample]:
    """The samples whose answer came from ``version``."""
    return [sample for sample in samples if sample.version == version]


def first_failed_answer(samples: Iterable[Sample], version: str) -> float | None:
    """When the client had the first failed response of ``version``, Unix time in seconds."""
    return min((s.finished for s in answered_by(samples, version) if not s.ok), default=None)


def first_slow_answer(samples: Iterable[Sample], version: str, limit: float) -> float | None:
    """When the client had the first response of ``version`` slower than ``limit`` seconds."""
    return min((s.finished for s in answered_by(samples, version) if s.latency > limit), default=None)


def unexplained_failures(samples: Sequence[Sample], bad_canary: str | None) -> list[Sample]:
    """Failed requests other than those that the bad canary itself answered.

    A bad canary's own response is a 5xx that names its version. A request that found no server, timed
    out or was refused by the proxy is never explained, whatever version it was for.
    """
    return [
        sample
        for sample in samples
        if not sample.ok
        and not (
            bad_canary is not None
            and sample.kind is Kind.STATUS
            and sample.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            and sample.version == bad_canary
        )
    ]
