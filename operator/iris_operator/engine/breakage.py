"""What others added to an object that breaks service, and that an apply of ours does not take away."""

from __future__ import annotations

from typing import Any

from iris_operator.engine.kinds import SERVICE
from iris_operator.engine.ports import Json


def breaking_additions(stored: Json, desired: Json) -> dict[str, Any]:
    """A merge patch that takes them away; empty when there are none."""
    return _of_service(stored["spec"], desired["spec"]) if desired["kind"] == SERVICE.kind else {}


def _of_service(stored: Json, desired: Json) -> dict[str, Any]:
    """A port under another number keeps the name of ours, and an endpoint that is not ready gets requests."""
    spec: dict[str, Any] = {}
    if [_port(each) for each in stored.get("ports") or ()] != [_port(each) for each in desired["ports"]]:
        spec["ports"] = desired["ports"]
    if stored.get("publishNotReadyAddresses"):
        spec["publishNotReadyAddresses"] = None
    if stored.get("type") == "ExternalName":
        spec |= {"type": "ClusterIP", "externalName": None}
    return {"spec": spec} if spec else {}


def _port(port: Json) -> tuple[Any, ...]:
    return port.get("name"), port["port"], port.get("targetPort"), port.get("protocol", "TCP")
