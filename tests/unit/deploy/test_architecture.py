"""docs/architecture.md draws what is rendered, and nothing else."""

import re
from pathlib import Path

import yaml

from support.deploy.manifests import WORKLOADS, Manifest, workloads

ROOT = Path(__file__).resolve().parents[3]
DRAWING = (ROOT / "docs" / "architecture.md").read_text().partition("```mermaid")[2].partition("```")[0]
DRAWN = set(re.findall(r"`([a-z-]+)`", DRAWING))


def test_every_workload_of_an_overlay_is_drawn(rendered: list[Manifest]) -> None:
    assert {name for name, _ in workloads(rendered)} - DRAWN == set()


def test_what_is_drawn_by_name_is_a_workload_in_a_manifest() -> None:
    """Also what no overlay has by itself, as the other ways to ship logs."""
    kinds = (*WORKLOADS, "CronJob")
    known = {
        item["metadata"]["name"]
        for file in (ROOT / "deploy").glob("**/*.yaml")
        if re.search(rf"^kind: ({'|'.join(kinds)})$", file.read_text(), re.MULTILINE)
        for item in yaml.safe_load_all(file.read_text())
        if item and item["kind"] in kinds
    }
    assert DRAWN - known == set()
    assert DRAWN
