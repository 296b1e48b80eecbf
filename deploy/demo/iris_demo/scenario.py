"""The five releases of the demo: their files and how each is meant to end."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml

from iris_demo.judge import PROMOTED, ROLLED_BACK, Expectation

RELEASES = (
    Expectation("1.0.0", "first deployment", PROMOTED),
    Expectation("2.0.0", "a better model", PROMOTED),
    Expectation("3.0.0", "expects other features", ROLLED_BACK, "ErrorRate"),
    Expectation("4.0.0", "far larger and slower", ROLLED_BACK, "Latency"),
    Expectation("5.0.0", "crashes at start", ROLLED_BACK, "Crash"),
)


def manifest(version: str) -> dict[str, Any]:
    """The release's resource, as the file in ``releases/`` has it."""
    text = resources.files("iris_demo").joinpath(f"releases/{version}.yaml").read_text(encoding="utf-8")
    parsed: dict[str, Any] = yaml.safe_load(text)
    return parsed


def interval_seconds(release: dict[str, Any]) -> float:
    """The operator's interval in the demo's files, which write it in whole seconds."""
    return float(release["spec"]["rollout"]["interval"].removesuffix("s"))


def chosen(only: list[str]) -> list[Expectation]:
    """The releases to run, in order; all when ``only`` is empty.

    The first is always among them: without a stable version there is nothing to compare with.
    Raises ValueError for a version that the demo does not have.
    """
    known = {release.version for release in RELEASES}
    unknown = sorted(set(only) - known)
    if unknown:
        raise ValueError(f"no such release: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    wanted = {RELEASES[0].version, *only} if only else known
    return [release for release in RELEASES if release.version in wanted]
