"""The dashboards' queries as Grafana sends them to Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from support.observability.repository import OBSERVABILITY

# Four of the kubelet's scrapes, which are the rarest.
RATE_INTERVAL = "1m"


@dataclass(frozen=True)
class PanelQuery:
    """PromQL with substituted variables, and the panel that it belongs to."""

    panel: str
    text: str


def panel_queries(namespace: str, release: str) -> Iterator[PanelQuery]:
    """Every Prometheus query of every panel and annotation, for one release."""
    values = {"$namespace": namespace, "$release": release, "$__rate_interval": RATE_INTERVAL}
    for path in sorted((OBSERVABILITY / "grafana" / "dashboards").glob("*.json")):
        for where, text in _of_board(json.loads(path.read_text())):
            for name, value in values.items():
                text = text.replace(name, value)  # noqa: PLW2901 - filled in step by step
            assert "$" not in text, text
            yield PanelQuery(f"{path.stem}, {where}", text)


def _of_board(board: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for mark in board.get("annotations", {}).get("list", []):
        yield f"marks {mark['name']}", mark["expr"]
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            if target["datasource"]["type"] == "prometheus":
                yield panel["title"], target["expr"]
