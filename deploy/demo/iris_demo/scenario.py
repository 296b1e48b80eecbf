"""The releases of the demo in two acts: their files and how each is meant to end."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from iris_demo.judge import PROMOTED, ROLLED_BACK, Expectation


@dataclass(frozen=True)
class Act:
    """Releases that follow each other, the first of them onto an empty place; ``folder`` has their files.

    ``label_delay`` is how many seconds after an answer its true label becomes known.
    """

    name: str
    folder: str
    releases: tuple[Expectation, ...]
    label_delay: float = 2.0

    def manifest(self, version: str) -> dict[str, Any]:
        """The release's resource, as the act's file has it."""
        text = resources.files("iris_demo").joinpath(f"{self.folder}/{version}.yaml").read_text(encoding="utf-8")
        parsed: dict[str, Any] = yaml.safe_load(text)
        return parsed

    def chosen(self, only: list[str]) -> list[Expectation]:
        """The releases to run, in order; all when ``only`` is empty.

        The first is always among them: without a stable version there is nothing to compare with.
        Raises ValueError for a version that the act does not have.
        """
        known = {release.version for release in self.releases}
        unknown = sorted(set(only) - known)
        if unknown:
            raise ValueError(f"no such release: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        wanted = {self.releases[0].version, *only} if only else known
        return [release for release in self.releases if release.version in wanted]


LOUD = Act(
    "loud",
    "releases",
    (
        Expectation("1.0.0", "first deployment", PROMOTED),
        Expectation("2.0.0", "a better model", PROMOTED),
        Expectation("3.0.0", "expects other features", ROLLED_BACK, "ErrorRate"),
        Expectation("4.0.0", "far larger and slower", ROLLED_BACK, "Latency"),
        Expectation("5.0.0", "crashes at start", ROLLED_BACK, "Crash"),
    ),
)
# Every version of this act starts, is fast enough to live with, and answers every request with a 200.
SILENT = Act(
    "silent",
    "releases/silent",
    (
        Expectation("6.0.0", "first deployment", PROMOTED),
        Expectation("7.0.0", "two classes' labels exchanged in training", ROLLED_BACK, "PredictionDrift"),
        Expectation("8.0.0", "trained without the petals, wrong more often", ROLLED_BACK, "Accuracy"),
        Expectation("9.0.0", "a fifth slower", ROLLED_BACK, "Latency"),
        Expectation("6.1.0", "as good, released into an incident", PROMOTED, incident=True),
    ),
    # Nobody knows the truth at once: exchanged labels are found before it, lost accuracy cannot be.
    label_delay=30.0,
)
ACTS = {act.name: act for act in (LOUD, SILENT)}
FILES = [(act, release.version) for act in ACTS.values() for release in act.releases]


def interval_seconds(release: dict[str, Any]) -> float:
    """The operator's interval in the demo's files, which write it in whole seconds."""
    return float(release["spec"]["rollout"]["interval"].removesuffix("s"))
