"""Which dashboards there are."""

from __future__ import annotations

import json
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from iris_observability.dashboards import logs, operator, release, resources, service

_BOARDS = {
    "iris-logs": logs.board,
    "iris-operator": operator.board,
    "iris-release": release.board,
    "iris-resources": resources.board,
    "iris-service": service.board,
}


def as_json() -> dict[str, str]:
    """Every dashboard's JSON as Grafana imports it, by its uid."""
    return {uid: f"{_encoded(make().uid(uid).build())}\n" for uid, make in _BOARDS.items()}


def _encoded(dashboard: Any) -> str:
    # Twice: the encoder's own order of keys is that of its classes, and a diff should show changes only.
    return json.dumps(json.loads(JSONEncoder().encode(dashboard)), indent=1, sort_keys=True)
