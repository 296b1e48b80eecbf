"""Terminal output: permanent lines of the timeline, and below them a panel that is redrawn.

When the output is not a terminal there is no panel: a status line is printed every ten seconds instead.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from iris_demo import counts
from iris_demo.observations import Observation, Release
from iris_demo.samples import Sample
from iris_demo.timeline import Timeline, TimelineLine, Tone

STYLES = {Tone.PLAIN: "", Tone.GOOD: "green", Tone.BAD: "bold red", Tone.QUIET: "dim"}
# The panel shows rates over this window.
WINDOW_SECONDS = 5.0
PLAIN_STATUS_SECONDS = 10.0


class Terminal:
    """Shows the progress of a run; times are printed in seconds since this object was created."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.started = time.time()
        self.timeline = Timeline()
        self._live: Live | None = None
        self._recent: list[Sample] = []
        self._sent = self._failed = 0
        self._status_at = 0.0

    @contextmanager
    def live_panel(self) -> Iterator[None]:
        """Draw the panel for the duration of the block, if the output is a terminal."""
        if not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, refresh_per_second=2, get_renderable=self._panel) as self._live:
            yield
        self._live = None

    def print_line(self, line: TimelineLine) -> None:
        """Print a line of the timeline."""
        text = Text(f"{line.at - self.started:7.1f} s  ", style="dim")
        text.append(f"{line.subject:<8} ", style="cyan")
        text.append(line.text, style=STYLES[line.tone])
        self.console.print(text, soft_wrap=not self.console.is_terminal)

    def show_observation(self, observation: Observation) -> None:
        """Print the timeline's lines for an observation."""
        for line in self.timeline.add(observation):
            self.print_line(line)

    def log(self, subject: str, text: str, tone: Tone = Tone.PLAIN) -> None:
        """Print a line with the current time."""
        self.print_line(TimelineLine(time.time(), subject, text, tone))

    def count_samples(self, batch: list[Sample]) -> None:
        """Add finished requests to the counts."""
        self._sent += len(batch)
        self._failed += sum(not sample.ok for sample in batch)
        now = time.time()
        self._recent = [s for s in self._recent + batch if s.finished > now - WINDOW_SECONDS]
        if not self.console.is_terminal and now - self._status_at >= PLAIN_STATUS_SECONDS:
            self._status_at = now
            self.log("traffic", self._traffic_text(), Tone.QUIET)

    def _panel(self) -> RenderableType:
        release = self.timeline.release
        head = Table.grid(padding=(0, 2))
        head.add_row("phase", Text(release.phase or "-", style="bold"), "stable", release.stable or "-")
        head.add_row("step", f"{release.step}/{release.steps}", "canary", release.canary or "-")
        head.add_row("weight", ProgressBar(total=100, completed=release.weight, width=30), "", f"{release.weight} %")
        return Group(
            Text("─" * min(72, self.console.width), style="dim"), head, _verdicts(release), Text(self._traffic_text())
        )

    def _traffic_text(self) -> str:
        recent = counts.totals(self._recent)
        p99 = counts.latency_quantile(self._recent, 0.99)
        shares = "  ".join(f"{version}: {count}" for version, count in recent.by_version.items())
        return (
            f"{recent.sent / WINDOW_SECONDS:.0f} requests/s  {recent.failures / WINDOW_SECONDS:.1f} failed/s  "
            f"p99 {'-' if p99 is None else f'{p99 * 1000:.0f} ms'}  ({shares or 'no answers'})  "
            f"in all {self._sent} sent, {self._failed} failed"
        )


def _verdicts(release: Release) -> Text:
    text = Text()
    for check in release.checks:
        style = {"Pass": "green", "Fail": "bold red"}.get(check.verdict, "dim")
        text.append(f"{check.name} {check.verdict} ", style=style)
        text.append(f"{check.reason}\n", style="dim")
    text.rstrip()
    return text
