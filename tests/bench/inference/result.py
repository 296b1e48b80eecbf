"""The result of a benchmark: all measurements, and the bounds."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.inference.bounds import Bound, Median
from bench.inference.machine import Machine
from bench.inference.run import Run


@dataclass(frozen=True, slots=True)
class Setting:
    """How it was measured. Durations in s."""

    repetitions: int
    warm_seconds: int
    measured_seconds: int
    connections: int
    seed: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """Everything; `runs` are the raw repetitions in the order in which they were measured."""

    commit: str
    started_at: str
    machine: Machine
    versions: Mapping[str, Mapping[str, str]]
    setting: Setting
    bounds: list[Bound]
    medians: Mapping[str, Median]
    ready_seconds: list[float]
    runs: list[Run]

    @property
    def void(self) -> list[Run]:
        """The runs that must not be used."""
        return [run for run in self.runs if run.void]

    @property
    def passed(self) -> bool:
        """Whether no bound is missed and no run is void. What was not measured is not missed."""
        return not self.void and all(bound.met is not False for bound in self.bounds)


def write(result: Result, path: Path) -> None:
    """Write the result as JSON, whole or not at all."""
    content: dict[str, Any] = {"passed": result.passed, **dataclasses.asdict(result)}
    content["bounds"] = [{**dataclasses.asdict(bound), "met": bound.met} for bound in result.bounds]
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content, indent=2) + "\n")
    new.rename(path)
