"""What a release came to, for people: Markdown as the page of a GitHub job shows it, and the line of its log. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iris_demo.counts import Totals
from iris_demo.kube import Object
from iris_demo.observations import Check, release_of
from iris_pipeline.outcome import Outcome, State, Wanted
from iris_pipeline.publish import Published

_MARKS = {State.PROMOTED: "✅", State.ROLLED_BACK: "❌"}


@dataclass(frozen=True)
class Finished:
    """A release that is decided. `weights` are shares of the traffic in percent with their seconds."""

    name: str
    wanted: Wanted
    outcome: Outcome
    seconds: float
    weights: Sequence[tuple[int, float]]
    resource: Object | None = None
    traffic: Totals | None = None

    @property
    def promoted(self) -> bool:
        """Whether the version serves now."""
        return self.outcome.state is State.PROMOTED


def markdown(finished: Finished) -> str:
    """A section for the job's page."""
    outcome, wanted = finished.outcome, finished.wanted
    lines = [
        f"### {_MARKS.get(outcome.state, '⚠️')} {finished.name} {wanted.version}: {outcome.state}",
        "",
        _plain(outcome.reason),
        "",
        "| | |",
        "| --- | --- |",
        f"| image | `{wanted.image}` |",
        f"| took | {finished.seconds:.0f} s |",
        f"| share of the traffic | {_weights(finished.weights)} |",
    ]
    release = release_of(finished.resource or {})
    if release.stable:
        lines.append(f"| serves now | {_plain(release.stable)} |")
    if finished.traffic is not None:
        lines.append(f"| requests meanwhile | {_requests(finished.traffic)} |")
    if release.checks:
        lines += ["", "| check | verdict | requests | why |", "| --- | --- | ---: | --- |"]
        lines += [_check(check) for check in release.checks]
    return "\n".join(lines) + "\n"


def images(published: Sequence[Published]) -> str:
    """A section about what is in the registry now."""
    lines = ["### Images", "", "| image | tag | size |", "| --- | --- | ---: |"]
    lines += [f"| `{one.reference}` | {_plain(one.tag)} | {_plain(one.size)} |" for one in published]
    return "\n".join(lines) + "\n"


def sentence(finished: Finished) -> str:
    """The same in one line."""
    return f"{finished.name} {finished.wanted.version} {finished.outcome.state}: {finished.outcome.reason}"


def annotation(finished: Finished) -> str:
    """The line that makes GitHub show the reason above the job's log."""
    text = sentence(finished).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{'notice' if finished.promoted else 'error'} title=Release::{text}"


def _weights(weights: Sequence[tuple[int, float]]) -> str:
    return ", ".join(f"{weight} % for {seconds:.0f} s" for weight, seconds in weights) or "none"


def _requests(traffic: Totals) -> str:
    shares = ", ".join(f"{version}: {count}" for version, count in traffic.by_version.items())
    return f"{traffic.sent}, {traffic.failures} failed ({shares})"


def _check(check: Check) -> str:
    return f"| {_plain(check.name)} | {_plain(check.verdict)} | {check.requests} | {_plain(check.reason)} |"


def _plain(text: str) -> str:
    """Text that is only text in a cell of a table, whatever a pod's last words were."""
    for special, harmless in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("`", "'"), ("\r", ""), ("\n", "<br>")):
        text = text.replace(special, harmless)
    return text
