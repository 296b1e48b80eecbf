"""Some of Kubernetes' own controllers, for tests that need their real behaviour."""

from collections.abc import Sequence
from pathlib import Path

from support.servers.kubernetes import KubeApiserver
from support.servers.process import ServerProcess, accepts, free_port
from support.servers.tools import component


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
