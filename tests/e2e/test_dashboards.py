from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from e2e.given_when_then import Given, Then, When
from e2e.monitoring import ask
from e2e.scenario import NAMESPACE
from unit.observability.repository import OBSERVABILITY

DASHBOARDS = sorted((OBSERVABILITY / "grafana" / "dashboards").glob("*.json"))


def queries(path: Path) -> Iterator[tuple[str, str]]:
    """Each query to Prometheus of a dashboard's panels and marks, with where it stands."""
    board: dict[str, Any] = json.loads(path.read_text())
    for mark in board.get("annotations", {}).get("list", []):
        yield f"{path.stem}, marks, {mark['name']}", mark["expr"]
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            if target["datasource"]["type"] == "prometheus":
                yield f"{path.stem}, {panel['title']}", target["expr"]


async def test_every_panel_has_something_to_show_of_a_release_that_was_taken_back(
    given: Given, when: When, then: Then
) -> None:
    started = time.time()
    await given.a_stable_release("1.0.0")
    await given.traffic()
    await when.apply("3.0.0")
    await then.is_rolled_back("3.0.0", stable="1.0.0", reason="ErrorRate")
    # What the newest scrapes say of it: a few more answers are a few more scrapes.
    await then.answered(300)

    values = {"$namespace": NAMESPACE, "$release": then.resource.removeprefix("imr/"), "$__rate_interval": "1m"}
    asked, silent = 0, []
    for path in DASHBOARDS:
        for where, query in queries(path):
            filled = query
            for name, value in values.items():
                filled = filled.replace(name, value)
            assert "$" not in filled, filled
            asked += 1
            if not await ask(filled, since=started):
                silent.append(f"{where}: {filled}")
    assert asked > 50
    assert not silent, "\n".join(silent)
