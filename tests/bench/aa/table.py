"""The tables at the end: the identical versions, those with a fault, and the bounds."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from bench.aa.record import Record
from bench.aa.result import Result
from bench.aa.verdict import bounds


def show(result: Result, console: Console) -> None:
    """Print the tables, what was said about each rollout, and the bounds."""
    identical = [record for record in result.records if record.case.identical]
    faulty = [record for record in result.records if not record.case.identical]
    if identical:
        console.print(table("identical versions", identical))
    if faulty:
        console.print(table("versions with a fault", faulty))
    for record in result.records:
        for line in notes(record):
            console.print(line, markup=False)
    for bound in bounds(result.records):
        style = "green" if bound.met else "bold red"
        text = f"{'met   ' if bound.met else 'MISSED'} {bound.name}: {bound.value}, required {bound.wanted}"
        console.print(text, style=style, markup=False)
    if len(result.records) < result.planned:
        console.print(f"MISSED only {len(result.records)} of {result.planned} rollouts were made", style="bold red")


def table(title: str, records: Sequence[Record]) -> Table:
    """One row for each rollout."""
    made = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        caption="canary: requests/failed; to 0: s from its first request until the route left it nothing; "
        "+pods: control group; !: machine too busy",
    )
    made.add_column("version")
    for name in ("pods", "first", "req/s"):
        made.add_column(name, justify="right")
    made.add_column("outcome", no_wrap=True)
    for name in ("s", "sent", "failed", "canary", "to 0", "+pods", "p50 ms", "p99 ms", "idle"):
        made.add_column(name, justify="right", no_wrap=True)
    for record in records:
        made.add_row(*row(record))
    return made


def row(record: Record) -> tuple[str, ...]:
    """The cells of a rollout."""
    case, canary, machine = record.case, record.canary, record.machine
    return (
        case.title,
        str(case.replicas),
        f"{case.first_weight} %",
        f"{case.rate:g}",
        f"{'✓' if record.as_expected else '✗'} {record.outcome}",
        f"{record.seconds:.0f}",
        str(record.requests),
        str(record.failed),
        f"{canary.requests}/{canary.failed}",
        "-" if canary.seconds is None else f"{canary.seconds:.1f}",
        str(record.control_pods),
        _milliseconds(record.p50),
        _milliseconds(record.p99),
        f"{machine.idle:.0%}{'!' if machine.too_busy else ''}",
    )


def notes(record: Record) -> list[str]:
    """What has to be said about a rollout beside its row; nothing for an identical one that was promoted quietly."""
    lines = []
    if record.reason and (not record.as_expected or not record.case.identical):
        lines.append(f"{record.case.name}: {record.reason}")
    if not record.case.identical:
        lines.append(f"  said beforehand: {record.said_beforehand or next(iter(record.said), 'nothing')}")
    if record.machine.too_busy:
        lines.append(f"{record.case.name}: the machine was too busy to mean anything: {record.machine.too_busy}")
    if record.repeated is not None:
        lines.append(
            f"{record.case.name}: repeated; first it {record.repeated.outcome} ({record.repeated.machine.too_busy})"
        )
    return lines


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f}"
