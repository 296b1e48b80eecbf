"""Turns observations into timeline lines: only changes, each reported once. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from iris_demo.observations import Check, EventObserved, Observation, Release, ReleaseObserved, RouteObserved


class Tone(StrEnum):
    """The meaning of a line, from which the renderer chooses a colour."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    QUIET = "quiet"


@dataclass(frozen=True)
class TimelineLine:
    """One line of the timeline; ``at`` is Unix time in seconds."""

    at: float
    subject: str
    text: str
    tone: Tone = Tone.PLAIN


GOOD_PHASES = frozenset({"Stable", "Promoting"})
BAD_PHASES = frozenset({"RollingBack", "RolledBack", "Degraded"})


class Timeline:
    """Remembers the last state so that an unchanged one is not reported again."""

    def __init__(self) -> None:
        self.release = Release()
        self.weight = 0

    def add(self, observation: Observation) -> list[TimelineLine]:
        """The lines for this observation; often none."""
        match observation:
            case RouteObserved(at, weight):
                return self._route(at, weight)
            case ReleaseObserved(at, release):
                return self._release(at, release)
            case EventObserved(at, type_, reason, message):
                return [
                    TimelineLine(at, "event", f"{reason}: {message}", Tone.BAD if type_ == "Warning" else Tone.QUIET)
                ]

    def _route(self, at: float, weight: int) -> list[TimelineLine]:
        before, self.weight = self.weight, weight
        if weight == before:
            return []
        tone = Tone.PLAIN if weight > before else Tone.QUIET
        return [TimelineLine(at, "route", f"{before} % -> {weight} % to the canary's Service", tone)]

    def _release(self, at: float, release: Release) -> list[TimelineLine]:
        before, self.release = self.release, release
        lines = []
        if release.phase != before.phase:
            lines.append(TimelineLine(at, "phase", _phase_text(release), _phase_tone(release.phase)))
        if release.weight != before.weight:
            tone = Tone.PLAIN if release.weight > before.weight else Tone.QUIET
            text = f"{before.weight} % -> {release.weight} % of the requests to version {release.spec_version}"
            lines.append(TimelineLine(at, "weight", text, tone))
        if release.control_pods > before.control_pods:
            text = f"fresh pods of version {release.stable} to compare the canary with: {release.control_pods}"
            lines.append(TimelineLine(at, "control", text, Tone.QUIET))
        if release.resolution and release.resolution != before.resolution:
            lines.append(TimelineLine(at, "analysis", release.resolution, Tone.QUIET))
        if release.stable != before.stable and release.stable:
            lines.append(TimelineLine(at, "stable", f"version {release.stable} serves", Tone.GOOD))
        earlier = {check.name: check.verdict for check in before.checks}
        changed = [check for check in release.checks if check.verdict != earlier.get(check.name)]
        lines += [TimelineLine(at, "verdict", _check_text(check), _verdict_tone(check.verdict)) for check in changed]
        return lines


def _phase_text(release: Release) -> str:
    parts = [release.phase]
    if release.canary:
        parts.append(f"canary {release.canary}")
    if release.steps and release.phase == "Progressing":
        parts.append(f"step {release.step} of {release.steps}")
    if release.phase in BAD_PHASES and release.promoted_message:
        parts.append(release.promoted_message)
    return " · ".join(parts)


def _check_text(check: Check) -> str:
    return f"{check.name} {check.verdict}" + (f": {check.reason}" if check.reason else "")


def _phase_tone(phase: str) -> Tone:
    if phase in GOOD_PHASES:
        return Tone.GOOD
    return Tone.BAD if phase in BAD_PHASES else Tone.PLAIN


def _verdict_tone(verdict: str) -> Tone:
    return {"Pass": Tone.GOOD, "Fail": Tone.BAD, "Error": Tone.BAD}.get(verdict, Tone.QUIET)
