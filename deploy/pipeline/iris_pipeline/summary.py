"""The result of a release for people: Markdown for the page of a GitHub job, and a line for its log. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iris_demo.counts import Totals
from iris_demo.kube import Object
from iris_demo.observations import Check, release_of
from iris_pipeline.outcome import DesiredModel, Outcome, State
from iris_pipeline.publish import PublishedImage

_MARKS = {State.PROMOTED: "✅", State.ROLLED_BACK: "❌", State.FAILED: "❌"}


@dataclass(frozen=True)
class RolloutResult:
    """A decided release. `weights` are shares of the traffic in percent with their seconds."""

    name: str
    desired: DesiredModel
    outcome: Outcome
    seconds: float
    weights: Sequence[tuple[int, float]]
    resource: Object | None = None
    traffic: Totals | None = None

    @property
    def promoted(self) -> bool:
        """Whether the version serves now."""
        return self.outcome.state is State.PROMOTED


def markdown(result: RolloutResult) -> str:
    """A section for the job's page."""
    outcome, desired = result.outcome, result.desired
    lines = [
        f"### {_MARKS.get(outcome.state, '⚠️')} {result.name} {desired.version}: {outcome.state}",
        "",
        _escape(outcome.reason),
        "",
        "| | |",
        "| --- | --- |",
        f"| image | `{desired.image}` |",
        f"| took | {result.seconds:.0f} s |",
        f"| share of the traffic | {_weights(result.weights)} |",
    ]
    release = release_of(result.resource or {})
    if release.stable:
        lines.append(f"| serves now | {_escape(release.stable)} |")
    if result.traffic is not None:
        lines.append(f"| requests meanwhile | {_requests(result.traffic)} |")
    if release.checks:
        lines += ["", "| check | verdict | requests | why |", "| --- | --- | ---: | --- |"]
        lines += [_check(check) for check in release.checks]
    return "\n".join(lines) + "\n"


def images(published: Sequence[PublishedImage]) -> str:
    """A section that lists the published images."""
    lines = ["### Images", "", "| image | tag | size |", "| --- | --- | ---: |"]
    lines += [f"| `{image.reference}` | {_escape(image.tag)} | {_escape(image.size)} |" for image in published]
    return "\n".join(lines) + "\n"


def one_line(result: RolloutResult) -> str:
    """The result in one line."""
    return f"{result.name} {result.desired.version} {result.outcome.state}: {result.outcome.reason}"


def annotation(result: RolloutResult) -> str:
    """The line that makes GitHub show the reason above the job's log."""
    text = one_line(result).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{'notice' if result.promoted else 'error'} title=Release::{text}"


def _weights(weights: Sequence[tuple[int, float]]) -> str:
    return ", ".join(f"{weight} % for {seconds:.0f} s" for weight, seconds in weights) or "none"


def _requests(traffic: Totals) -> str:
    shares = ", ".join(f"{version}: {count}" for version, count in traffic.by_version.items())
    return f"{traffic.sent}, {traffic.failures} failed ({shares})"


def _check(check: Check) -> str:
    return f"| {_escape(check.name)} | {_escape(check.verdict)} | {check.requests} | {_escape(check.reason)} |"


def _escape(text: str) -> str:
    """Escapes text for a cell of a Markdown table, because a reason may quote the output of a pod."""
    for special, replacement in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("`", "'"), ("\r", ""), ("\n", "<br>")):
        text = text.replace(special, replacement)
    return text
