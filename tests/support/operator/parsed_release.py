"""A parsed release in a rollout, for tests that need no API server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from iris_operator.engine.release import Release, parse_release
from support.operator.simulation import manifest

STABLE, CANARY = "abc123", "def456"
CONTROL = f"{STABLE}-control-{CANARY}"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def release(*, control: bool = True, spec: dict[str, Any] | None = None, **rollout: Any) -> Release:
    """Version 2.0.0 beside 1.0.0, in a step that began at noon; `spec` and `rollout` replace fields of the resource."""
    status = {
        "stable": _ref(STABLE),
        "canary": _ref(CANARY),
        "rollout": {"stage": "Progressing", "stepStartedAt": NOON.isoformat(), **rollout},
        **({"control": {**_ref(CONTROL), "pods": 1}} if control else {}),
    }
    body = manifest("2.0.0", **(spec or {}))
    metadata = {**body["metadata"], "uid": "1", "resourceVersion": "1", "generation": 1}
    return parse_release({**body, "metadata": metadata, "status": status})


def _ref(revision: str) -> dict[str, Any]:
    return {"revision": revision, "version": "1.0.0", "image": "registry.example.com/iris:1.0.0"}
