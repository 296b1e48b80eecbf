"""The result of a soak, as JSON and for people."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from bench.inference.bounds import MEGABYTE
from bench.inference.machine import Machine
from bench.inference.soak.judge import Finding, Flatness, Records, Sample


@dataclass(frozen=True, slots=True)
class Soak:
    """Everything. `capacity` is the rate of which a share was taken, None when the rate was given."""

    commit: str
    started_at: str
    machine: Machine
    versions: Mapping[str, Mapping[str, str]]
    seconds: float
    connections: int
    capacity: float | None
    rate: float
    flatness: Flatness
    records: Records
    findings: Sequence[Finding]
    samples: Sequence[Sample]

    @property
    def passed(self) -> bool:
        """Whether all is as it must be."""
        return all(finding.good for finding in self.findings)


def write(soak: Soak, path: Path) -> None:
    """Write it as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"passed": soak.passed, **dataclasses.asdict(soak)}, indent=2) + "\n")


def show(soak: Soak, console: Console) -> None:
    """Print what was seen."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("", "seen", "wanted", ""):
        table.add_column(name, no_wrap=True)
    for finding in soak.findings:
        table.add_row(finding.name, finding.seen, finding.wanted, "[green]met[/]" if finding.good else "[red]MISSED[/]")
    console.print(table)
    flat = soak.flatness
    console.print(
        f"memory {flat.early / MEGABYTE:.1f} MB early, {flat.late / MEGABYTE:.1f} MB late, "
        f"{flat.slope / MEGABYTE:+.2f} MB an hour; largest backlog {max(s.backlog for s in soak.samples):,} records, "
        f"written {soak.records.drain_seconds:.1f} s after the end; worst p99 of 5 s "
        f"{max(s.p99_ms for s in soak.samples):.1f} ms"
    )
    console.print("open loop: a constant rate, latencies counted from when a request was due; PostgreSQL without fsync")
    console.print("[bold green]PASSED[/]" if soak.passed else "[bold red]FAILED[/]")
