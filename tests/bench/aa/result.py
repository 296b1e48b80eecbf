"""The result of the benchmark as JSON: every rollout with all that was recorded of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.aa.record import Record
from bench.aa.verdict import bounds, passed
from bench.inference.machine import Machine


@dataclass(frozen=True)
class Result:
    """All of it; ``planned`` is how many rollouts were to be made, ``seconds`` how long the whole took."""

    commit: str
    started_at: str
    seconds: float
    machine: Machine
    planned: int
    records: Sequence[Record]
    # What kept the rest from being measured; empty when nothing did.
    stopped: str = ""

    @property
    def passed(self) -> bool:
        """Whether all was measured and every bound is met."""
        return not self.stopped and passed(self.records, self.planned)


def as_json(result: Result) -> dict[str, Any]:
    """The content of the file; times in seconds, weights in percent, shares of 1."""
    return {
        "passed": result.passed,
        "stopped": result.stopped,
        "commit": result.commit,
        "startedAt": result.started_at,
        "seconds": round(result.seconds, 1),
        "machine": dataclasses.asdict(result.machine),
        "planned": result.planned,
        "bounds": [dataclasses.asdict(bound) | {"met": bound.met} for bound in bounds(result.records)],
        "rollouts": [_record(record) for record in result.records],
    }


def write(result: Result, path: Path) -> None:
    """Write the result as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(as_json(result), indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)


def _record(record: Record) -> dict[str, Any]:
    case = record.case
    return {
        "kind": case.kind,
        "title": case.title,
        "replicas": case.replicas,
        "steps": list(case.steps),
        "rate": case.rate,
        "version": record.version,
        "expected": case.outcome,
        "outcome": record.outcome,
        "asExpected": record.as_expected,
        "reason": record.reason,
        "seconds": round(record.seconds, 1),
        "requests": record.requests,
        "failed": record.failed,
        "shares": [{"weight": step.weight, "seconds": round(step.seconds, 1)} for step in record.shares],
        "saidBeforehand": record.said_beforehand,
        "said": list(record.said),
        "controlPods": record.control_pods,
        "p50Seconds": record.p50,
        "p99Seconds": record.p99,
        "canary": dataclasses.asdict(record.canary),
        "checks": [dataclasses.asdict(check) for check in record.checks],
        "machine": dataclasses.asdict(record.machine) | {"tooBusy": record.machine.too_busy},
        "repeated": None if record.repeated is None else _record(record.repeated),
    }
