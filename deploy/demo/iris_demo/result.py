"""The result of a run of the demo, as one value and as the JSON that is written. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from iris_demo.counts import LabelCounts, Second, Totals
from iris_demo.judge import ReleaseReport


@dataclass(frozen=True)
class OperatorCost:
    """What the operator costs: resident bytes, and the objects that changed while it was idle."""

    memory_bytes: int | None
    idle_seconds: float
    idle_changes: tuple[str, ...]


@dataclass(frozen=True)
class DemoResult:
    """A whole run; ``started`` is Unix time in seconds, ``rate`` in requests/s."""

    started: float
    seconds: float
    rate: float
    requested: int
    reports: tuple[ReleaseReport, ...]
    requests: Totals
    labels: dict[str, LabelCounts]
    unexplained: int
    history: tuple[Second, ...]
    operator: OperatorCost

    @property
    def passed(self) -> bool:
        """Every requested release ended as expected, and nothing else failed."""
        return (
            len(self.reports) == self.requested
            and all(report.as_expected for report in self.reports)
            and self.requests.sent > 0
            and self.unexplained == 0
        )


def as_json(result: DemoResult) -> dict[str, Any]:
    """The content of ``demo.json``; times in seconds, weights in percent, memory in bytes."""
    return {
        "passed": result.passed,
        "startedAt": round(result.started, 3),
        "seconds": round(result.seconds, 1),
        "rate": result.rate,
        "operator": {
            "memoryBytes": result.operator.memory_bytes,
            "idleSeconds": result.operator.idle_seconds,
            "idleChanges": list(result.operator.idle_changes),
        },
        "requests": _totals(result.requests) | {"unexplained": result.unexplained},
        "labels": {version: asdict(labels) for version, labels in result.labels.items()},
        "releases": [_release(report) for report in result.reports],
        "history": [
            {"second": second.at, "sent": second.sent, "failed": second.failed, "byVersion": second.by_version}
            for second in result.history
        ],
    }


def _release(report: ReleaseReport) -> dict[str, Any]:
    return {
        "version": report.expected.version,
        "title": report.expected.title,
        "expected": report.expected.outcome,
        "outcome": report.outcome,
        "reason": report.reason,
        "asExpected": report.as_expected,
        "problems": list(report.problems),
        "seconds": round(report.seconds, 1),
        "steps": [{"weight": step.weight, "seconds": round(step.seconds, 1)} for step in report.steps],
        "secondsToWeightZero": {
            _camel(name): None if seconds is None else round(seconds, 2)
            for name, seconds in asdict(report.rollback_delays).items()
        },
        "requests": _totals(report.requests) | {"unexplained": report.unexplained},
    }


def _totals(totals: Totals) -> dict[str, Any]:
    return {
        "sent": totals.sent,
        "ok": totals.ok,
        "failed": totals.failures,
        "failedByKind": totals.failed,
        "byVersion": totals.by_version,
        "failedByVersion": totals.failed_by_version,
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
