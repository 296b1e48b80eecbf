"""The table at the end of a run."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from iris_demo.judge import Evidence, Report, Step
from iris_demo.result import Operator, Result

MEBIBYTE = 1024 * 1024


def show(result: Result, console: Console) -> None:
    """Print the releases, the traffic and the operator's cost."""
    table = Table(show_lines=True)
    for heading in ("release", "outcome", "why", "seconds at weight", "s to weight 0", "requests", "served by"):
        table.add_column(heading, overflow="fold")
    for report in result.reports:
        table.add_row(*_row(report))
    console.print(table)
    for report in result.reports:
        for problem in report.problems:
            console.print(f"{report.expected.version}: {problem}", style="bold red")
    requests = result.requests
    console.print(
        f"{requests.sent} requests at {result.rate:g}/s, {requests.failures} failed, "
        f"{result.unexplained} of them not answered by a bad canary."
    )
    console.print(_operator(result))
    console.print(
        f"{'PASSED' if result.passed else 'FAILED'} after {result.seconds:.0f} s",
        style="bold green" if result.passed else "bold red",
    )


def _row(report: Report) -> tuple[str, ...]:
    mark = "✓" if report.as_expected else "✗"
    requests = report.requests
    return (
        f"{report.expected.version}\n{report.expected.title}",
        f"{mark} {report.outcome}\n(expected {report.expected.outcome})",
        report.reason or "-",
        f"{_steps(report.steps)}\n{report.seconds:.0f} s in all",
        _evidence(report.evidence),
        f"{requests.sent} sent\n{requests.failures} failed\n{report.unexplained} unexplained",
        "\n".join(f"{version}: {count}" for version, count in requests.by_version.items()) or "-",
    )


def _steps(steps: tuple[Step, ...]) -> str:
    return "\n".join(f"{step.weight:3} %: {step.seconds:.1f}" for step in steps)


def _evidence(evidence: Evidence) -> str:
    named = (
        ("Fail verdict", evidence.from_fail_verdict),
        ("failed answer", evidence.from_failed_answer),
        ("slow answer", evidence.from_slow_answer),
    )
    return "\n".join(f"{seconds:.1f} from first {name}" for name, seconds in named if seconds is not None) or "-"


def _operator(result: Result) -> str:
    operator = result.operator
    memory = "unknown" if operator.memory_bytes is None else f"{operator.memory_bytes / MEBIBYTE:.0f} MiB resident"
    return f"operator: {memory}; {_idle(operator)} in {operator.idle_seconds:g} s of idling."


def _idle(operator: Operator) -> str:
    if not operator.idle_changes:
        return "nothing written"
    return f"changed {', '.join(operator.idle_changes)}"
