"""The controllers and the kubelet, replaced by the test: pods that are ready, endpoints that list them.

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

from iris_operator.adapters import kinds
from iris_operator.adapters.kubernetes.api import KubernetesApi
from iris_operator.api import names
from support.servers.tools import component

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


def with_api(kubeconfig: Path, operation: Callable[[KubernetesApi], Awaitable[T]]) -> T:
    """Run an operation with the operator's own client, as an administrator."""

    async def run() -> T:
        configuration = client.Configuration()
        await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
        async with client.ApiClient(configuration) as api_client:
            return await operation(KubernetesApi(api_client, kinds.ALL))

    return asyncio.run(run())


def bring_up_pods(kubectl: Kubectl) -> None:
    """Every Deployment gets its pods, all ready, and every Service their endpoints."""
    for deployment in kubectl.get("deployments")["items"]:
        for number in range(deployment["spec"]["replicas"]):
            _pod(kubectl, deployment, number)
    list_endpoints(kubectl)


def collect_garbage(kubectl: Kubectl) -> None:
    """What a deleted Deployment leaves goes, as the garbage collector would have it."""
    kept = {_revision(item) for item in kubectl.get("deployments")["items"]}
    found = kubectl.get("replicasets,pods")["items"]
    gone = {_revision(item) for item in found if _revision(item)} - kept
    for revision in gone:
        own = f"--selector={names.LABEL_REVISION}={revision}"
        kubectl.run("delete", "replicasets,pods", own, "--force", "--grace-period=0", "--wait=false")


def list_endpoints(kubectl: Kubectl) -> None:
    """Every Service gets the endpoints of the pods that it selects, all of them ready."""
    collect_garbage(kubectl)
    pods = kubectl.get("pods")["items"]
    for service in kubectl.get("services")["items"]:
        _endpoints(kubectl, service, pods)


def make_pods_ready(kubectl: Kubectl) -> None:
    """Pods that a controller has created become running, ready, and listed as endpoints."""
    for pod in kubectl.get("pods")["items"]:
        if pod["status"]["phase"] == "Pending":
            status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            _set_status(kubectl, pod["metadata"]["name"], status)
    list_endpoints(kubectl)


def _revision(item: dict[str, Any]) -> str:
    return str(item["metadata"].get("labels", {}).get(names.LABEL_REVISION, ""))


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
