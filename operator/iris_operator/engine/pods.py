"""What a pod's status says about its container: ready, waiting, or dead and why."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from iris_operator.engine.ports import Json

# Long messages (a stack trace, say) are cut to what fits a line of `kubectl describe`; the end tells most.
_TAIL = 480
_ERRORS = {"ERROR", "CRITICAL", "FATAL"}


def is_ready(pod: Json) -> bool:
    """The pod's own Ready condition."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def ready_since(pod: Json) -> datetime | None:
    """Since when the pod is ready; None when it is not. One without a date has always been."""
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "Ready" and condition["status"] == "True":
            since = condition.get("lastTransitionTime")
            return datetime.fromisoformat(since) if since else datetime.fromtimestamp(0, UTC)
    return None


def restarts_of(pod: Json) -> int:
    """How often the kubelet started a container of the pod again."""
    return sum(
        int(container.get("restartCount", 0)) for container in pod.get("status", {}).get("containerStatuses", [])
    )


def crash_of(pod: Json) -> str:
    """How a container of the pod died, in words; empty when none did."""
    for container in pod.get("status", {}).get("containerStatuses", []):
        for state in (container.get("state", {}), container.get("lastState", {})):
            ended = state.get("terminated")
            if ended and (ended.get("exitCode", 0) != 0 or ended.get("reason") == "OOMKilled"):
                return _death(pod, container, ended)
    return ""


def waiting_of(pod: Json) -> str:
    """Why the pod is not ready, in words; empty when it is."""
    if is_ready(pod):
        return ""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for container in status.get("containerStatuses", []):
        waits = container.get("state", {}).get("waiting")
        if waits and waits.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"pod {name}: {waits['reason']}: {_tail(waits.get('message', ''))}".rstrip(": ")
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"pod {name}: {condition.get('reason', 'Unschedulable')}: {_tail(condition.get('message', ''))}"
    return f"pod {name} is not ready yet"


def _death(pod: Json, container: Json, ended: dict[str, Any]) -> str:
    name = pod["metadata"]["name"]
    if ended.get("reason") == "OOMKilled":
        return f"pod {name}: container {container['name']} was killed for its memory (OOMKilled)"
    last_words = _tail(_last_words(ended.get("message", "")))
    said = f": {last_words}" if last_words else ""
    return f"pod {name}: container {container['name']} exited with {ended.get('exitCode')}{said}"


def _last_words(message: str) -> str:
    """What a dying container said: the error among its last JSON log lines, or all of them when there is none."""
    for line in reversed(message.splitlines()):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and str(entry.get("level", "")).upper() in _ERRORS and entry.get("message"):
            return ": ".join(str(entry[field]) for field in ("message", "error") if entry.get(field))
    return message


def _tail(message: str) -> str:
    text = " ".join(message.split())
    return text if len(text) <= _TAIL else "..." + text[-_TAIL:]
