"""Waits until the applied workloads are available, and reports progress meanwhile."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from iris_install.errors import InstallError

CRD = "customresourcedefinition/irismodelreleases.iris.mlrelease.dev"
_POLL_SECONDS = 1.0
_TIMEOUT = "--request-timeout=10s"
# A restarting API server responds again within this time; one that does not is considered gone.
_UNREACHABLE_SECONDS = 30.0
# Reasons for which a container waits when nothing is wrong.
_NORMAL_WAITING_REASONS = ("ContainerCreating", "PodInitializing")


@dataclass(frozen=True)
class Workload:
    """A workload; its name is also the value of its pods' name label."""

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
# The workloads that an overlay adds.
OVERLAY_WORKLOADS = {
    "local": (
        Workload("deployment", "victorialogs", "iris-logs"),
        Workload("daemonset", "otelcol", "iris-logs"),
    ),
}


class KubectlRunner(Protocol):
    """The part of kubectl that is needed here."""

    def run(self, *arguments: str) -> str:
        """Runs kubectl and returns its output; raises InstallError."""

    def run_visibly(self, *arguments: str) -> bool:
        """Runs kubectl with its output on the terminal; True on success."""


@dataclass(frozen=True)
class Clock:
    """The clock used for waiting, in seconds."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def wait(
    cluster: KubectlRunner,
    seconds: float,
    report: Callable[[str], None],
    clock: Clock | None = None,
    *,
    overlay: str = "production",
) -> None:
    """Returns when every workload of the overlay is available in its applied version.

    Raises:
        InstallError: one is not after `seconds`, or the API server has stopped responding.
    """
    clock = clock or Clock()
    cluster.run("wait", "--for=condition=Established", CRD, "--timeout=60s")
    started = last_response = clock.now()
    reported: dict[Workload, str] = {}
    pending = [*WORKLOADS, *OVERLAY_WORKLOADS.get(overlay, ())]
    while True:
        try:
            states = {workload: _workload_state(cluster, workload) for workload in pending}
            last_response = clock.now()
        except InstallError:
            if clock.now() - last_response > _UNREACHABLE_SECONDS:
                raise
            states = {}
        for workload, state in states.items():
            if reported.get(workload) != state.text:
                report(f"{clock.now() - started:5.0f} s  {workload.namespace}/{workload.name}: {state.text}")
                reported[workload] = state.text
            if state.done:
                pending.remove(workload)
        if not pending:
            return
        if clock.now() - started > seconds:
            _print_diagnostics(cluster, pending[0])
            names = ", ".join(f"{workload.namespace}/{workload.name}" for workload in pending)
            raise InstallError(f"Not available after {seconds:.0f} s: {names}; see above.")
        clock.sleep(_POLL_SECONDS)


@dataclass(frozen=True)
class _WorkloadState:
    text: str
    done: bool


def _workload_state(cluster: KubectlRunner, workload: Workload) -> _WorkloadState:
    item = json.loads(
        cluster.run("get", workload.kind, workload.name, f"--namespace={workload.namespace}", _TIMEOUT, "--output=json")
    )
    status = item.get("status", {})
    if status.get("observedGeneration", 0) < item["metadata"]["generation"]:
        return _WorkloadState("not observed by its controller yet", done=False)
    # Pods of an earlier template may be ready while the new ones are not.
    if workload.kind == "daemonset":
        desired = current = status.get("desiredNumberScheduled", 0)
        ready = min(status.get("numberReady", 0), status.get("updatedNumberScheduled", 0))
    else:
        desired, current = item["spec"]["replicas"], status.get("replicas", 0)
        ready = min(status.get("readyReplicas", 0), status.get("updatedReplicas", 0))
    if ready >= desired and current == desired:
        return _WorkloadState(f"{ready} of {desired} ready", done=True)
    pods = json.loads(
        cluster.run("get", "pods", f"--namespace={workload.namespace}", _selector(workload), _TIMEOUT, "--output=json")
    )
    problems = sorted({problem for pod in pods["items"] for problem in _pod_problems(pod)})
    return _WorkloadState("; ".join([f"{ready} of {desired} ready", *problems]), done=False)


def _pod_problems(pod: Mapping[str, Any]) -> Iterator[str]:
    for condition in pod["status"].get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield f"no node for it: {condition.get('message', condition.get('reason', ''))}"
    for container in pod["status"].get("containerStatuses", []):
        waits = container["state"].get("waiting", {})
        if waits and waits.get("reason") not in _NORMAL_WAITING_REASONS:
            yield f"{waits.get('reason')}: {waits.get('message', '').splitlines()[0] if waits.get('message') else ''}"


def _selector(workload: Workload) -> str:
    return f"--selector=app.kubernetes.io/name={workload.name}"


def _print_diagnostics(cluster: KubectlRunner, workload: Workload) -> None:
    namespace = f"--namespace={workload.namespace}"
    cluster.run_visibly("get", "pods", namespace, _selector(workload), "--output=wide")
    cluster.run_visibly("get", "events", namespace, "--sort-by=.lastTimestamp", "--field-selector=type=Warning")
    cluster.run_visibly(
        "logs", namespace, _selector(workload), "--all-containers", "--tail=20", "--prefix", "--ignore-errors"
    )
