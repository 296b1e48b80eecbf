"""The controllers and the kubelet, played by the test: pods that are ready, endpoints that list them.

The API server of the tests runs alone. What the operator reads of pods and endpoints is written here, as the real ones
write it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from kubernetes.aio import client, config

from integration.harness.tools import component
from iris_operator.adapters.kubernetes.api import KubernetesApi

T = TypeVar("T")


class Kubectl:
    """kubectl on the tests' API server."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self.kubeconfig = kubeconfig
        self.namespace = namespace

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        command = [component("kubectl"), f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def apply(self, body: dict[str, Any]) -> None:
        self.run("apply", "--server-side", "-f", "-", stdin=json.dumps(body))

    def get(self, kind: str, name: str = "") -> Any:
        return json.loads(self.run("get", kind, *([name] if name else []), "--output=json"))


def ask(kubeconfig: Path, question: Callable[[KubernetesApi], Awaitable[T]]) -> T:
    """Asks with the operator's own client, as an administrator."""

    async def run() -> T:
        configuration = client.Configuration()
        await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
        async with client.ApiClient(configuration) as api_client:
            return await question(KubernetesApi(api_client))

    return asyncio.run(run())


def bring_up_pods(kubectl: Kubectl) -> None:
    """Every Deployment gets its pods, all ready, and every Service their endpoints."""
    for deployment in kubectl.get("deployments")["items"]:
        for number in range(deployment["spec"]["replicas"]):
            _pod(kubectl, deployment, number)
    list_endpoints(kubectl)


def list_endpoints(kubectl: Kubectl) -> None:
    """Every Service gets the endpoints of the pods that it selects, all of them ready."""
    pods = kubectl.get("pods")["items"]
    for service in kubectl.get("services")["items"]:
        _endpoints(kubectl, service, pods)


def get_ready(kubectl: Kubectl) -> None:
    """The pods that somebody else made run and are ready, and are listed as endpoints."""
    for pod in kubectl.get("pods")["items"]:
        if pod["status"]["phase"] == "Pending":
            status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            _set_status(kubectl, pod["metadata"]["name"], status)
    list_endpoints(kubectl)


def _pod(kubectl: Kubectl, deployment: dict[str, Any], number: int) -> None:
    template = deployment["spec"]["template"]
    name = f"{deployment['metadata']['name']}-{number}"
    metadata = {"name": name, "namespace": kubectl.namespace, "labels": template["metadata"]["labels"]}
    kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
    _set_status(kubectl, name, {"conditions": [{"type": "Ready", "status": "True"}]})


def _set_status(kubectl: Kubectl, pod: str, status: dict[str, Any]) -> None:
    patch = json.dumps({"status": status})
    kubectl.run("patch", "pod", pod, "--subresource=status", "--type=merge", f"--patch={patch}")


def _endpoints(kubectl: Kubectl, service: dict[str, Any], pods: list[dict[str, Any]]) -> None:
    selector = service["spec"]["selector"]
    chosen = [pod for pod in pods if selector.items() <= pod["metadata"]["labels"].items()]
    name = service["metadata"]["name"]
    kubectl.apply(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-1",
                "namespace": kubectl.namespace,
                "labels": {**service["metadata"]["labels"], "kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "endpoints": [
                {
                    "addresses": [f"10.0.0.{number + 1}"],
                    "conditions": {"ready": True},
                    "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"], "namespace": kubectl.namespace},
                }
                for number, pod in enumerate(chosen)
            ],
            "ports": [{"name": "http", "port": 8000, "protocol": "TCP"}],
        }
    )
