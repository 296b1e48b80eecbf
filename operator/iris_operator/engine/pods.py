"""The state of a pod's containers from its status: ready, waiting, or terminated and why."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from iris_operator.api import names
from iris_operator.engine.ports import Json

# Long messages, as stack traces, are cut to what fits a line of `kubectl describe`; the end says most.
_MAX_MESSAGE = 480
_ERROR_LEVELS = {"ERROR", "CRITICAL", "FATAL"}
# Reasons in a pod's status that are those of its node, of the scheduler or of the kubelet.
_REASONS_OF_THE_NODE = {
    "Evicted",
    "NodeAffinity",
    "NodeLost",
    "NodeShutdown",
    "OutOfcpu",
    "OutOfmemory",
    "OutOfpods",
    "Preempted",
    "Preempting",
    "Shutdown",
    "Terminated",
    "UnexpectedAdmissionError",
}
# How a container ended that nobody watched: its node was restarted, or lost.
_UNKNOWN_ENDS = {"ContainerStatusUnknown", "Unknown"}


def is_ready(pod: Json) -> bool:
    """The pod's own Ready condition."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def ready_pods(pods: Iterable[Json], revision: str) -> int:
    """How many pods of a revision are ready and not being deleted."""
    return sum(
        is_ready(pod)
        for pod in pods
        if (pod["metadata"].get("labels") or {}).get(names.LABEL_REVISION) == revision
        and "deletionTimestamp" not in pod["metadata"]
    )


def ready_since(pod: Json) -> datetime | None:
    """Since when the pod is ready; None when it is not. Without a date: since 1970."""
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "Ready" and condition["status"] == "True":
            since = condition.get("lastTransitionTime")
            return datetime.fromisoformat(since) if since else datetime.fromtimestamp(0, UTC)
    return None


def serving_since(pod: Json) -> datetime | None:
    """Since when the pod has been serving: since it is ready or, while it is not, since it exists; None if unknown.

    A pod that is not ready any more may have answered at any time since it exists.
    """
    created = pod["metadata"].get("creationTimestamp")
    return ready_since(pod) or (datetime.fromisoformat(created) if created else None)


def restart_count(pod: Json) -> int:
    """How often the kubelet restarted containers of the pod."""
    return sum(
        int(container.get("restartCount", 0)) for container in pod.get("status", {}).get("containerStatuses", [])
    )


def crash_message(pod: Json) -> str:
    """How a container of the pod terminated, for people; empty when none failed, or when its node is why."""
    if is_disrupted(pod):
        return ""
    for container in pod.get("status", {}).get("containerStatuses", []):
        for state in (container.get("state", {}), container.get("lastState", {})):
            ended = state.get("terminated")
            if (
                ended
                and ended.get("reason") not in _UNKNOWN_ENDS
                and (ended.get("exitCode", 0) != 0 or ended.get("reason") == "OOMKilled")
            ):
                return _termination_message(pod, container, ended)
    return ""


def is_disrupted(pod: Json) -> bool:
    """Was the pod ended, or is it cut off, by its node or by the cluster, whatever runs in it?

    The kubelet of a node that is lost reports nothing any more: the node's controller sets the pod's Ready to False
    and leaves the containers' as it was. Of a failed readiness probe the kubelet reports both.
    """
    status = pod.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    ready, containers_ready = conditions.get("Ready", {}), conditions.get("ContainersReady", {})
    return (
        "deletionTimestamp" in pod["metadata"]
        or status.get("reason") in _REASONS_OF_THE_NODE
        or conditions.get("DisruptionTarget", {}).get("status") == "True"
        or ready.get("reason") in ("NodeNotReady", "NodeLost")
        or ready.get("status") == "Unknown"
        or (ready.get("status") == "False" and containers_ready.get("status") == "True")
    )


def probe_failure(pod: Json) -> str:
    """That a container of the pod runs and is not ready, for people; empty when it is, or is starting or disrupted."""
    if is_ready(pod) or is_disrupted(pod):
        return ""
    for container in pod.get("status", {}).get("containerStatuses", []):
        if "running" in container.get("state", {}) and container.get("started") and not container.get("ready"):
            return f"pod {pod['metadata']['name']}: container {container['name']} runs and fails its readiness probe"
    return ""


def waiting_reason(pod: Json) -> str:
    """Why the pod is not ready, for people; empty when it is."""
    if is_ready(pod):
        return ""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for container in status.get("containerStatuses", []):
        waiting = container.get("state", {}).get("waiting")
        if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"pod {name}: {waiting['reason']}: {_tail(waiting.get('message', ''))}".rstrip(": ")
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"pod {name}: {condition.get('reason', 'Unschedulable')}: {_tail(condition.get('message', ''))}"
    return f"pod {name} is not ready yet"


def _termination_message(pod: Json, container: Json, ended: dict[str, Any]) -> str:
    name = pod["metadata"]["name"]
    if ended.get("reason") == "OOMKilled":
        return f"pod {name}: container {container['name']} was killed for its memory (OOMKilled)"
    error = _tail(_last_error(ended.get("message", "")))
    suffix = f": {error}" if error else ""
    return f"pod {name}: container {container['name']} exited with {ended.get('exitCode')}{suffix}"


def _last_error(message: str) -> str:
    """The last error among the JSON log lines of a termination message; the whole message when there is none."""
    for line in reversed(message.splitlines()):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and str(entry.get("level", "")).upper() in _ERROR_LEVELS and entry.get("message"):
            return ": ".join(str(entry[field]) for field in ("message", "error") if entry.get(field))
    return message


def _tail(message: str) -> str:
    text = " ".join(message.split())
    return text if len(text) <= _MAX_MESSAGE else "..." + text[-_MAX_MESSAGE:]
