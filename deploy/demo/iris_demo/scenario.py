"""The two scenarios of the demo: the files of their releases and the expected outcome of each."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from iris_demo.judge import PROMOTED, ROLLED_BACK, Expectation


@dataclass(frozen=True)
class DemoScenario:
    """A sequence of releases, of which the first is a first deployment; ``folder`` has their files.

    ``label_delay`` is how many seconds after a response its true label becomes known.
    """

    name: str
    folder: str
    releases: tuple[Expectation, ...]
    label_delay: float = 2.0

    def manifest(self, version: str) -> dict[str, Any]:
        """The release's resource, read from the scenario's file."""
        text = resources.files("iris_demo").joinpath(f"{self.folder}/{version}.yaml").read_text(encoding="utf-8")
        parsed: dict[str, Any] = yaml.safe_load(text)
        return parsed

    def select(self, only: list[str]) -> list[Expectation]:
        """The releases to run, in order; all when ``only`` is empty.

        The first is always among them: without a stable version there is nothing to compare with.
        Raises ValueError for a version that the scenario does not have.
        """
        known = {release.version for release in self.releases}
        unknown = sorted(set(only) - known)
        if unknown:
            raise ValueError(f"no such release: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        selected = {self.releases[0].version, *only} if only else known
        return [release for release in self.releases if release.version in selected]


LOUD = DemoScenario(
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
# Every version of this scenario starts, is acceptably fast, and answers every request with a 200.
SILENT = DemoScenario(
    "silent",
    "releases/silent",
    (
        Expectation("6.0.0", "first deployment", PROMOTED),
        Expectation("6.0.1", "identical to 6.0.0", PROMOTED),
        Expectation("7.0.0", "two classes' labels exchanged in training", ROLLED_BACK, "PredictionDrift"),
        Expectation("8.0.0", "trained without the petals, wrong more often", ROLLED_BACK, "Accuracy"),
        Expectation("9.0.0", "some 15 ms slower", ROLLED_BACK, "Latency"),
        Expectation("6.1.0", "as good, released into an incident", PROMOTED, incident=True),
        # The last: each fresh pod of it is slow at first, also one that a later version would be compared with.
        Expectation("6.2.0", "slow for its first 20 s, then as good", PROMOTED),
    ),
    # True labels are never known at once: exchanged labels are found without them, lost accuracy is not.
    label_delay=30.0,
)
SCENARIOS = {scenario.name: scenario for scenario in (LOUD, SILENT)}
FILES = [(scenario, release.version) for scenario in SCENARIOS.values() for release in scenario.releases]


def interval_seconds(release: dict[str, Any]) -> float:
    """The operator's interval in the demo's files, which write it in whole seconds."""
    return float(release["spec"]["rollout"]["interval"].removesuffix("s"))
