"""The tables at the end."""

from rich import box
from rich.console import Console
from rich.table import Table

from bench.inference.bounds import MEGABYTE, Bound, Median
from bench.inference.cases import BARE, CASES
from bench.inference.result import Result

# Below this, either the load did not saturate the server, or the machine had other work.
_UNDISTURBED = 0.85
_MARKS = {True: "[green]met[/]", False: "[red]MISSED[/]", None: "[yellow]not measured[/]"}


def show(result: Result, console: Console) -> None:
    """Print what was measured, what was promised, and under which conditions."""
    console.print(_measured(result))
    console.print(_promised(result))
    for run in result.void:
        console.print(f"[red]void:[/] {run.case}, repetition {run.repetition + 1}: {'; '.join(run.void)}")
    for name, median in result.medians.items():
        if median.server_share < _UNDISTURBED:
            console.print(f"[yellow]doubtful:[/] {name} had only {median.server_share:.0%} of its core")
    machine = result.machine
    console.print(
        f"{machine.processor}, {machine.cores} cores, Linux {machine.kernel}, Python {machine.python}; {result.commit}"
    )
    for note in result.setting.notes:
        console.print(f"- {note}" if note == note.lstrip() else note)
    console.print("[bold green]PASSED[/]" if result.passed else "[bold red]FAILED[/]")


def _measured(result: Result) -> Table:
    setting = result.setting
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        caption=f"median of {setting.repetitions} x {setting.measured_seconds} s, {setting.connections} connections; "
        "busy: the server, and the load with the stores",
    )
    table.add_column("server", no_wrap=True)
    table.add_column("model", no_wrap=True)
    for name in ("predictions/s", "x bare", "p50 ms", "p99 ms", "MB", "busy %"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, case in CASES.items():
        if median := result.medians.get(name):
            model = case.server.model or ""
            table.add_row(case.title, model, *_row(median, None if case.instances > 1 else result.medians.get(BARE)))
    return table


def _row(median: Median, bare: Median | None) -> list[str]:
    return [
        f"{median.predictions_rate:,.0f}",
        f"{median.rate / bare.rate:.3f}" if bare else "",
        f"{median.p50_ms:.2f}",
        f"{median.p99_ms:.2f}",
        f"{median.resident_bytes / MEGABYTE:.0f}",
        f"{median.server_share * 100:.0f} {median.load_share * 100:3.0f}",
    ]


def _promised(result: Result) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("promise", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column("bound", justify="right")
    table.add_column("")
    for bound in result.bounds:
        table.add_row(bound.name, _value(bound), _limit(bound), _MARKS[bound.met])
    return table


def _value(bound: Bound) -> str:
    return _number(bound.value, bound.unit) if bound.value is not None else bound.note or "-"


def _limit(bound: Bound) -> str:
    return f"{'under' if bound.below else 'at least'} {_number(bound.limit, bound.unit)}"


def _number(value: float, unit: str) -> str:
    digits = 2 if value < 100 else 0
    return f"{value:,.{digits}f}{'' if unit in {'x', '/s'} else ' '}{unit}"
