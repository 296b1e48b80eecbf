"""Waits until what was applied runs, and says why when it does not."""

import time
from dataclasses import dataclass

from iris_install.errors import InstallError
from iris_install.kubectl import Kubectl

CRD = "customresourcedefinition/irismodelreleases.iris.mlrelease.dev"


@dataclass(frozen=True)
class Workload:
    """Something that has pods, by the label value that its pods carry."""

    kind: str
    name: str
    namespace: str


# In the order in which they come up; all start at once, so waiting in turn costs nothing.
WORKLOADS = (
    Workload("statefulset", "postgres", "iris"),
    Workload("deployment", "redis", "iris"),
    Workload("deployment", "prometheus", "iris-system"),
    Workload("deployment", "iris-operator", "iris-system"),
)


def wait(kubectl: Kubectl, seconds: int) -> None:
    """Returns when every workload is available; raises InstallError naming the first that is not after `seconds`."""
    deadline = time.monotonic() + seconds
    kubectl.text("wait", "--for=condition=Established", CRD, "--timeout=60s")
    for workload in WORKLOADS:
        left = max(1, round(deadline - time.monotonic()))
        target = f"{workload.kind}/{workload.name}"
        if not kubectl.show("rollout", "status", target, f"--namespace={workload.namespace}", f"--timeout={left}s"):
            _explain(kubectl, workload)
            raise InstallError(
                f"{workload.namespace}/{workload.name} did not become available within {seconds} s; see above."
            )


def _explain(kubectl: Kubectl, workload: Workload) -> None:
    pods = f"--selector=app.kubernetes.io/name={workload.name}"
    namespace = f"--namespace={workload.namespace}"
    kubectl.show("get", "pods", namespace, pods, "--output=wide")
    kubectl.show("get", "events", namespace, "--sort-by=.lastTimestamp", "--field-selector=type=Warning")
    kubectl.show("logs", namespace, pods, "--all-containers", "--tail=20", "--prefix", "--ignore-errors")
