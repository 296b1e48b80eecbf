"""Waits until what was applied runs, and says meanwhile what it waits for."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from iris_install.errors import InstallError

CRD = "customresourcedefinition/irismodelreleases.iris.mlrelease.dev"
_POLL_SECONDS = 1.0
_TIMEOUT = "--request-timeout=10s"
# An API server that is restarted answers again within this; one that does not is gone.
_SILENCE_SECONDS = 30.0
# What a container waits for when nothing is wrong.
_ORDINARY = ("ContainerCreating", "PodInitializing")


@dataclass(frozen=True)
class Workload:
    """Something that has pods, by the label value that its pods carry."""

    kind: str
    name: str
    namespace: str


WORKLOADS = (
    Workload("statefulset", "postgres", "iris"),
    Workload("deployment", "redis", "iris"),
    Workload("deployment", "prometheus", "iris-system"),
    Workload("deployment", "alertmanager", "iris-system"),
    Workload("deployment", "iris-operator", "iris-system"),
)
# What an overlay brings beside these.
BESIDE = {
    "local": (
        Workload("deployment", "victorialogs", "iris-logs"),
        Workload("daemonset", "otelcol", "iris-logs"),
    ),
}


class Cluster(Protocol):
    """The part of kubectl that is needed here."""

    def text(self, *arguments: str) -> str:
        """Runs kubectl and returns what it printed; raises InstallError."""

    def show(self, *arguments: str) -> bool:
        """Runs kubectl with its output on the terminal; True when it succeeded."""


@dataclass(frozen=True)
class Clock:
    """Time for waiting, in seconds."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def wait(
    cluster: Cluster,
    seconds: float,
    say: Callable[[str], None],
    clock: Clock | None = None,
    *,
    overlay: str = "production",
) -> None:
    """Returns when every workload of the overlay runs as it was applied.

    Raises:
        InstallError: one does not after `seconds`, or the API server has stopped answering.
    """
    clock = clock or Clock()
    cluster.text("wait", "--for=condition=Established", CRD, "--timeout=60s")
    started = heard = clock.now()
    said: dict[Workload, str] = {}
    waiting = [*WORKLOADS, *BESIDE.get(overlay, ())]
    while True:
        try:
            states = {workload: _state(cluster, workload) for workload in waiting}
            heard = clock.now()
        except InstallError:
            if clock.now() - heard > _SILENCE_SECONDS:
                raise
            states = {}
        for workload, state in states.items():
            if said.get(workload) != state.text:
                say(f"{clock.now() - started:5.0f} s  {workload.namespace}/{workload.name}: {state.text}")
                said[workload] = state.text
            if state.done:
                waiting.remove(workload)
        if not waiting:
            return
        if clock.now() - started > seconds:
            _explain(cluster, waiting[0])
            names = ", ".join(f"{workload.namespace}/{workload.name}" for workload in waiting)
            raise InstallError(f"Not available after {seconds:.0f} s: {names}; see above.")
        clock.sleep(_POLL_SECONDS)


@dataclass(frozen=True)
class _State:
    text: str
    done: bool


def _state(cluster: Cluster, workload: Workload) -> _State:
    item = json.loads(
        cluster.text(
            "get", workload.kind, workload.name, f"--namespace={workload.namespace}", _TIMEOUT, "--output=json"
        )
    )
    status = item.get("status", {})
    if status.get("observedGeneration", 0) < item["metadata"]["generation"]:
        return _State("not seen by its controller yet", done=False)
    # Pods of an earlier template may be ready while the new ones are not.
    if workload.kind == "daemonset":
        wanted = there = status.get("desiredNumberScheduled", 0)
        ready = min(status.get("numberReady", 0), status.get("updatedNumberScheduled", 0))
    else:
        wanted, there = item["spec"]["replicas"], status.get("replicas", 0)
        ready = min(status.get("readyReplicas", 0), status.get("updatedReplicas", 0))
    if ready >= wanted and there == wanted:
        return _State(f"{ready} of {wanted} ready", done=True)
    pods = json.loads(
        cluster.text("get", "pods", f"--namespace={workload.namespace}", _selector(workload), _TIMEOUT, "--output=json")
    )
    obstacles = sorted({obstacle for pod in pods["items"] for obstacle in _obstacles(pod)})
    return _State("; ".join([f"{ready} of {wanted} ready", *obstacles]), done=False)


def _obstacles(pod: Mapping[str, Any]) -> Iterator[str]:
    for condition in pod["status"].get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield f"no node for it: {condition.get('message', condition.get('reason', ''))}"
    for container in pod["status"].get("containerStatuses", []):
        waits = container["state"].get("waiting", {})
        if waits and waits.get("reason") not in _ORDINARY:
            yield f"{waits.get('reason')}: {waits.get('message', '').splitlines()[0] if waits.get('message') else ''}"


def _selector(workload: Workload) -> str:
    return f"--selector=app.kubernetes.io/name={workload.name}"


def _explain(cluster: Cluster, workload: Workload) -> None:
    namespace = f"--namespace={workload.namespace}"
    cluster.show("get", "pods", namespace, _selector(workload), "--output=wide")
    cluster.show("get", "events", namespace, "--sort-by=.lastTimestamp", "--field-selector=type=Warning")
    cluster.show("logs", namespace, _selector(workload), "--all-containers", "--tail=20", "--prefix", "--ignore-errors")
