"""Operators as an installation has them: the rights, the Lease and the fence of the base, and a pod for each."""

from __future__ import annotations

import http
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import yaml

from support.operator.controllers import Kubectl
from support.operator.rbac import FENCING, LEASE, RBAC
from support.servers.kubernetes import KubeApiserver
from support.waiting import eventually


@dataclass(frozen=True)
class OperatorPod:
    """A pod without a kubelet: its identity, and a kubeconfig with the token that the kubelet would mount."""

    name: str
    uid: str
    kubeconfig: Path

    @property
    def identity(self) -> str:
        return f"{self.name}_{self.uid}"

    def settings(self, namespace: str) -> dict[str, str]:
        """What the Deployment sets."""
        return {
            "IRIS_LEADER_ELECTION": "on",
            "IRIS_POD_NAMESPACE": namespace,
            "IRIS_POD_NAME": self.name,
            "IRIS_POD_UID": self.uid,
        }


class Installation:
    """All in one namespace: the operator's and that of its releases."""

    def __init__(self, server: KubeApiserver, kubectl: Kubectl) -> None:
        self.server = server
        self.kubectl = kubectl
        self.namespace = kubectl.namespace
        self.lease_path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/iris-operator"
        for file in (RBAC, LEASE, FENCING):
            text = file.read_text().replace("iris-system", self.namespace)
            # Other tests install the same policy beside this.
            text = text.replace("iris-operator-leader", f"iris-operator-leader-{self.namespace}")
            for item in yaml.safe_load_all(text):
                if "namespace" in item["metadata"]:
                    item["metadata"]["namespace"] = self.namespace
                kubectl.apply(item)

    def pod(self, name: str) -> OperatorPod:
        """A further pod of the operator."""
        spec = {"serviceAccountName": "iris-operator", "containers": [{"name": "operator", "image": "iris-operator:1"}]}
        metadata = {"name": name, "namespace": self.namespace, "labels": {"app.kubernetes.io/name": "iris-operator"}}
        self.kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        pod = self.kubectl.get("pod", name)
        kubeconfig = self.server.kubeconfig_for(self.namespace, "iris-operator", pod)
        return OperatorPod(name, pod["metadata"]["uid"], kubeconfig)

    def holder(self) -> str:
        """The name of the pod that holds the Lease; empty without one."""
        try:
            spec = self.server.request("GET", self.lease_path).get("spec", {})
        except urllib.error.HTTPError:
            return ""
        return str(spec.get("holderIdentity") or "").partition("_")[0]

    def give_lease(self, pod: OperatorPod, former: OperatorPod) -> None:
        """Make a pod the holder, and wait until the API server does not let the former one write any more."""
        lease = self.server.request("GET", self.lease_path)
        lease["spec"] = {"holderIdentity": pod.identity, "leaseDurationSeconds": 10}
        self.server.request("PUT", self.lease_path, lease)
        eventually(lambda: self.refuses(former) and not self.refuses(pod))

    def release_lease(self) -> None:
        """As one that ends does it: nobody need wait."""
        lease = self.server.request("GET", self.lease_path)
        lease["spec"] = {}
        self.server.request("PUT", self.lease_path, lease)

    def refuses(self, pod: OperatorPod) -> bool:
        """Would the API server refuse a write of this pod because it is not the leader?"""
        kubeconfig = json.loads(pod.kubeconfig.read_text())
        cluster, token = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]["token"]
        labels = {"iris.mlrelease.dev/release": "probe"}
        request = urllib.request.Request(
            f"{cluster['server']}/api/v1/namespaces/{self.namespace}/configmaps?dryRun=All",
            data=json.dumps({"metadata": {"name": "probe", "labels": labels}}).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
            method="POST",
        )
        trusted = ssl.create_default_context(cafile=cluster["certificate-authority"])
        try:
            urllib.request.urlopen(request, context=trusted, timeout=30).close()
        except urllib.error.HTTPError as error:
            message = error.read().decode()
            if error.code != http.HTTPStatus.FORBIDDEN or "is not the leader" not in message:
                raise AssertionError(message) from error
            return True
        return False
