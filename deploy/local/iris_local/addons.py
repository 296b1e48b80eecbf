"""What runs in the cluster from the start: its DNS, its Ingress controller and its image registry."""

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
_PATIENCE = 120.0


class Kubectl:
    """kubectl bound to the local cluster; it refuses any other."""

    def __init__(self, paths: Paths, programs: Path) -> None:
        kubeconfig.require_own(paths.kubeconfig)
        access = [f"--kubeconfig={paths.kubeconfig}", f"--context={kubeconfig.CONTEXT}"]
        self._command: list[str | Path] = [programs / "kubectl", *access]

    def text(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Runs it and returns what it printed."""
        return run([*self._command, *arguments], stdin=stdin)


def apply(kubectl: Kubectl) -> None:
    """Brings the objects into the cluster, as they are in the manifests."""
    kubectl.text("apply", "--server-side", "--force-conflicts", "--field-manager=iris-local", "-f", _MANIFESTS)


def wait(kubectl: Kubectl, check: Callable[[], None]) -> None:
    """Waits until all of it runs and the Ingress controller answers on this machine.

    Args:
        kubectl: speaks to the cluster.
        check: is called again and again; what it raises ends the waiting.

    Raises:
        LocalClusterError: it does not within two minutes; the text shows the pods and their events.
    """
    deadline = time.monotonic() + _PATIENCE
    while not (_rolled_out(kubectl) and ingress_answers()):
        if time.monotonic() > deadline:
            pods = kubectl.text("get", "pods", "--all-namespaces", "--output=wide")
            events = kubectl.text("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp")
            raise LocalClusterError(
                f"DNS, Ingress and registry are not ready after {_PATIENCE:.0f} s:\n{pods}\n{events[-3000:]}"
            )
        check()
        time.sleep(0.3)


def ingress_answers() -> bool:
    """Whether the Ingress controller answers HTTP requests; it says 404 as long as it has no Ingress."""
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
        deployment = json.loads(kubectl.text("get", "deployment", name, f"--namespace={namespace}", "--output=json"))
        status = deployment.get("status", {})
        current = status.get("observedGeneration") == deployment["metadata"]["generation"]
        wanted = deployment["spec"]["replicas"]
        if not current or min(status.get("updatedReplicas", 0), status.get("availableReplicas", 0)) < wanted:
            return False
    return True
