"""The table at the end of a run."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from iris_demo.judge import ROLLED_BACK, ReleaseReport
from iris_demo.result import DemoResult, OperatorCost

MEBIBYTE = 1024 * 1024


def print_summary(result: DemoResult, console: Console) -> None:
    """Print the releases, the traffic and the operator's cost."""
    console.print(_table(result))
    for report in result.reports:
        _print_report(report, console)
    requests = result.requests
    console.print(
        f"\n{requests.sent} requests at {result.rate:g}/s, {requests.failures} failed, "
        f"{result.unexplained} of them not answered by a bad canary."
    )
    console.print(_labels(result))
    console.print(_operator(result))
    console.print(
        f"{'PASSED' if result.passed else 'FAILED'} after {result.seconds:.0f} s",
        style="bold green" if result.passed else "bold red",
    )


def _table(result: DemoResult) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        caption="weight 0 after: s from the first Fail, and from the first bad response to a client",
    )
    table.add_column("release")
    table.add_column("outcome", no_wrap=True)
    table.add_column("seconds at weight")
    table.add_column("weight 0 after", justify="right")
    table.add_column("sent", justify="right")
    table.add_column("failed", justify="right")
    table.add_column("served by")
    for report in result.reports:
        requests = report.requests
        table.add_row(
            report.expected.version,
            f"{'✓' if report.as_expected else '✗'} {report.outcome}",
            "\n".join(f"{step.weight:3} %  {step.seconds:.1f}" for step in report.steps),
            _rollback_delays(report),
            str(requests.sent),
            str(requests.failures),
            "\n".join(f"{version}  {count}" for version, count in requests.by_version.items()),
        )
    return table


def _print_report(report: ReleaseReport, console: Console) -> None:
    text = Text(f"{report.expected.version} ", style="bold")
    text.append(f"{report.expected.title}, {report.outcome} after {report.seconds:.0f} s: ", style="")
    text.append(report.reason or "no reason given", style="dim")
    console.print(text)
    for problem in report.problems:
        console.print(f"      {problem}", style="bold red")


def _rollback_delays(report: ReleaseReport) -> str:
    if report.outcome == ROLLED_BACK and not any(step.weight for step in report.steps):
        return "had no traffic"
    delays = report.rollback_delays
    answers = [seconds for seconds in (delays.from_failed_answer, delays.from_slow_answer) if seconds is not None]
    columns = (delays.from_fail_verdict, max(answers, default=None))
    if columns == (None, None):
        return ""
    return " / ".join("-" if seconds is None else f"{seconds:.1f}" for seconds in columns)


def _labels(result: DemoResult) -> str:
    accuracy = (
        f"{version} right in {labels.correct} of {labels.correct + labels.incorrect}"
        for version, labels in result.labels.items()
    )
    lost = sum(labels.lost for labels in result.labels.values())
    return f"true labels sent back: {', '.join(accuracy) or 'none'}; {lost} lost."


def _operator(result: DemoResult) -> str:
    operator = result.operator
    memory = "unknown" if operator.memory_bytes is None else f"{operator.memory_bytes / MEBIBYTE:.0f} MiB resident"
    return f"operator: {memory}; {_idle(operator)} in {operator.idle_seconds:g} s of idling."


def _idle(operator: OperatorCost) -> str:
    if not operator.idle_changes:
        return "nothing written"
    return f"changed {', '.join(operator.idle_changes)}"
