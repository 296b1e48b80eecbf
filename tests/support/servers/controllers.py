"""Some of Kubernetes' own controllers, for tests about what those do and not about a state that a test makes."""

from collections.abc import Sequence
from pathlib import Path

from integration.harness.kubernetes import KubeApiserver
from integration.harness.process import ServerProcess, accepts, free_port
from integration.harness.tools import component


def controller_manager(server: KubeApiserver, folder: Path, controllers: Sequence[str]) -> ServerProcess:
    """kube-controller-manager with nothing but the named controllers; they work in every namespace of the server."""
    port = free_port()
    command = [
        component("kube-controller-manager"),
        f"--kubeconfig={server.kubeconfig}",
        f"--controllers={','.join(controllers)}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder}",
        # By default it looks every 15 s.
        "--horizontal-pod-autoscaler-sync-period=1s",
    ]
    return ServerProcess(command, folder / "controller-manager.log", ready=lambda: accepts(port), ready_seconds=120)
