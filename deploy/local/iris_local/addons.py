"""The cluster's add-ons: DNS, Ingress controller and image registry."""

import http.client
import json
import time
from collections.abc import Callable
from pathlib import Path

from iris_local import kubeconfig
from iris_local.commands import run
from iris_local.errors import LocalClusterError
from iris_local.paths import LOCAL, Paths

INGRESS_HOST = "127.0.0.1"
INGRESS_PORT = 30080
_MANIFESTS = LOCAL / "manifests"
_DEPLOYMENTS = (("kube-system", "coredns"), ("ingress", "traefik"), ("registry", "registry"))
_TIMEOUT_SECONDS = 120.0


class Kubectl:
    """kubectl bound to the local cluster; it refuses any other."""

    def __init__(self, paths: Paths, programs: Path) -> None:
        kubeconfig.require_local(paths.kubeconfig)
        access = [f"--kubeconfig={paths.kubeconfig}", f"--context={kubeconfig.CONTEXT}"]
        self._command: list[str | Path] = [programs / "kubectl", *access]

    def run(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Runs it and returns its output."""
        return run([*self._command, *arguments], stdin=stdin)


def apply(kubectl: Kubectl) -> None:
    """Applies the manifests."""
    kubectl.run("apply", "--server-side", "--force-conflicts", "--field-manager=iris-local", "-f", _MANIFESTS)


def wait_until_ready(kubectl: Kubectl, check: Callable[[], None]) -> None:
    """Waits until all add-ons are available and the Ingress controller responds on this machine.

    Args:
        kubectl: for the cluster.
        check: called in each iteration; an exception of it ends the waiting.

    Raises:
        LocalClusterError: they are not within two minutes; the message shows the pods and their events.
    """
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while not (_rolled_out(kubectl) and ingress_responds()):
        if time.monotonic() > deadline:
            pods = kubectl.run("get", "pods", "--all-namespaces", "--output=wide")
            events = kubectl.run("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp")
            raise LocalClusterError(
                f"DNS, Ingress and registry are not ready after {_TIMEOUT_SECONDS:.0f} s:\n{pods}\n{events[-3000:]}"
            )
        check()
        time.sleep(0.3)


def ingress_responds() -> bool:
    """Whether the Ingress controller responds to HTTP requests; with 404 as long as there is no Ingress."""
    connection = http.client.HTTPConnection(INGRESS_HOST, INGRESS_PORT, timeout=2)
    try:
        connection.request("GET", "/", headers={"Host": "nobody.invalid"})
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _rolled_out(kubectl: Kubectl) -> bool:
    for namespace, name in _DEPLOYMENTS:
        deployment = json.loads(kubectl.run("get", "deployment", name, f"--namespace={namespace}", "--output=json"))
        status = deployment.get("status", {})
        current = status.get("observedGeneration") == deployment["metadata"]["generation"]
        wanted = deployment["spec"]["replicas"]
        if not current or min(status.get("updatedReplicas", 0), status.get("availableReplicas", 0)) < wanted:
            return False
    return True
