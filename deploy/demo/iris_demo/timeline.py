"""Turns observations into the lines of a story: only what changed, each said once. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from iris_demo.observations import Check, EventSeen, Observation, Release, ReleaseSeen, RouteSeen


class Tone(StrEnum):
    """How a line is meant; the renderer gives it a colour."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    QUIET = "quiet"


@dataclass(frozen=True)
class Line:
    """One line of the timeline; ``at`` is Unix time in seconds."""

    at: float
    subject: str
    text: str
    tone: Tone = Tone.PLAIN


GOOD_PHASES = frozenset({"Stable", "Promoting"})
BAD_PHASES = frozenset({"RollingBack", "RolledBack", "Degraded"})


class Timeline:
    """Remembers the last state so that an unchanged one is not told again."""

    def __init__(self) -> None:
        self.release = Release()
        self.weight = 0

    def add(self, seen: Observation) -> list[Line]:
        """The lines that this observation adds to the story; often none."""
        match seen:
            case RouteSeen(at, weight):
                return self._route(at, weight)
            case ReleaseSeen(at, release):
                return self._release(at, release)
            case EventSeen(at, type_, reason, message):
                return [Line(at, "event", f"{reason}: {message}", Tone.BAD if type_ == "Warning" else Tone.QUIET)]

    def _route(self, at: float, weight: int) -> list[Line]:
        before, self.weight = self.weight, weight
        if weight == before:
            return []
        tone = Tone.PLAIN if weight > before else Tone.QUIET
        return [Line(at, "weight", f"{before} % -> {weight} %", tone)]

    def _release(self, at: float, release: Release) -> list[Line]:
        before, self.release = self.release, release
        lines = []
        if release.phase != before.phase:
            lines.append(Line(at, "phase", _phase_text(release), _phase_tone(release.phase)))
        if release.stable != before.stable and release.stable:
            lines.append(Line(at, "stable", f"version {release.stable} serves", Tone.GOOD))
        earlier = {check.name: check.verdict for check in before.checks}
        changed = [check for check in release.checks if check.verdict != earlier.get(check.name)]
        lines += [Line(at, "verdict", _check_text(check), _verdict_tone(check.verdict)) for check in changed]
        return lines


def _phase_text(release: Release) -> str:
    words = [release.phase]
    if release.canary:
        words.append(f"canary {release.canary}")
    if release.steps and release.phase == "Progressing":
        words.append(f"step {release.step} of {release.steps}")
    if release.phase in BAD_PHASES and release.promoted_message:
        words.append(release.promoted_message)
    return " · ".join(words)


def _check_text(check: Check) -> str:
    return f"{check.name} {check.verdict}" + (f": {check.reason}" if check.reason else "")


def _phase_tone(phase: str) -> Tone:
    if phase in GOOD_PHASES:
        return Tone.GOOD
    return Tone.BAD if phase in BAD_PHASES else Tone.PLAIN


def _verdict_tone(verdict: str) -> Tone:
    return {"Pass": Tone.GOOD, "Fail": Tone.BAD, "Error": Tone.BAD}.get(verdict, Tone.QUIET)
