"""The registry of dashboards."""

from __future__ import annotations

import json
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from iris_observability.dashboards import logs, operator, release, resources, service

_BUILDERS = {
    "iris-logs": logs.dashboard,
    "iris-operator": operator.dashboard,
    "iris-release": release.dashboard,
    "iris-resources": resources.dashboard,
    "iris-service": service.dashboard,
}


def as_json() -> dict[str, str]:
    """Every dashboard's JSON as Grafana imports it, by its uid."""
    return {uid: f"{_encoded(builder().uid(uid).build())}\n" for uid, builder in _BUILDERS.items()}


def _encoded(dashboard: Any) -> str:
    # Encoded twice to sort the keys, so that a diff shows changes only.
    return json.dumps(json.loads(JSONEncoder().encode(dashboard)), indent=1, sort_keys=True)
