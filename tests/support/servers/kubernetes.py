"""A real kube-apiserver with a real etcd, and nothing behind them: no controller and no node.

Only the test changes objects, so the states are exactly those that the test creates: a Deployment gets no pods unless
the test creates them, and a deleted namespace stays Terminating (so use a new one).
"""

import http
import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from iris_local import controlplane, kubeconfig, pki
from support.servers.process import ServerProcess, accepts, free_port
from support.servers.tools import component, debian

_HOST = "127.0.0.1"
_AUDIT_POLICY = Path(__file__).parent / "audit.yaml"
_RESOURCE = Path(__file__).resolve().parents[3] / "crds" / "irismodelreleases.yaml"


class Right(NamedTuple):
    """What a rule of a Role allows, taken apart."""

    verb: str
    group: str
    resource: str


class KubeApiserver:
    """Both processes, an administrator's kubeconfig, and kubeconfigs for service accounts.

    The processes have the arguments of the local cluster, so that the results hold there too.
    """

    def __init__(self, folder: Path) -> None:
        ports = (free_port(), free_port(), free_port())
        addresses = controlplane.Addresses(_HOST, *ports, service_range="10.0.0.0/24", service_host="10.0.0.1")
        self._folder = folder
        self._certificates = folder / "pki"
        pki.ensure(self._certificates, pki.identities(addresses.names, "none", _HOST))
        self.url = addresses.url
        self.kubeconfig = folder / "kubeconfig"
        self.etcd = ServerProcess(
            controlplane.etcd_command(Path(debian("etcd")), addresses, self._certificates, folder / "etcd"),
            folder / "etcd.log",
            ready=lambda: accepts(addresses.etcd_port),
        )
        self.server = ServerProcess(
            [
                *controlplane.apiserver_command(Path(component("kube-apiserver")), addresses, self._certificates),
                f"--audit-policy-file={_AUDIT_POLICY}",
                f"--audit-log-path={folder / 'audit.log'}",
            ],
            folder / "kube-apiserver.log",
            ready=controlplane.ReadinessProbe(addresses, self._certificates).ready,
            ready_seconds=180,
        )

    def start(self) -> None:
        """Returns when the API answers and the administrator's kubeconfig is written."""
        self.etcd.start()
        self.server.start()
        kubeconfig.write(self.kubeconfig, self.url, self._certificates, "admin")

    def stop(self) -> None:
        """Ends both processes. Not gently: that takes six seconds, and nobody reads what they leave."""
        self.server.kill()
        self.etcd.kill()

    def create_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """Makes a namespace with the service account that pods have by default, which a controller would make."""
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": dict(labels or {})}})
        self.request("POST", f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})

    def ensure_namespace(self, name: str) -> None:
        """Makes a namespace unless there is one of that name."""
        try:
            self.request("GET", f"/api/v1/namespaces/{name}")
        except urllib.error.HTTPError as error:
            if error.code != http.HTTPStatus.NOT_FOUND:
                raise
            self.create_namespace(name)

    def install_resource(self) -> None:
        """Installs the CustomResourceDefinition; idempotent."""
        self.apply(_RESOURCE)
        self._kubectl("wait", "--for=condition=Established", f"--filename={_RESOURCE}", "--timeout=30s")

    def apply(self, file: Path) -> None:
        """Applies a file's objects, as administrator and with strict validation: an unknown field is an error."""
        self._kubectl("apply", "--server-side", "--validate=strict", f"--filename={file}")

    def rights_used(self, namespace: str, service_account: str) -> set[Right]:
        """Every permission that a service account has used so far, successfully or not."""
        return set(self.requests_of(namespace, service_account))

    def requests_of(self, namespace: str, service_account: str) -> Counter[Right]:
        """How often a service account has used each permission so far."""
        user = f"system:serviceaccount:{namespace}:{service_account}"
        used: Counter[Right] = Counter()
        for line in (self._folder / "audit.log").read_text().splitlines():
            entry = json.loads(line)
            if entry["user"]["username"] == user and "objectRef" in entry:
                asked = entry["objectRef"]
                resource = "/".join(filter(None, [asked["resource"], asked.get("subresource")]))
                used[Right(entry["verb"], asked.get("apiGroup", ""), resource)] += 1
        return used

    def kubeconfig_for(self, namespace: str, service_account: str, pod: Mapping[str, Any] | None = None) -> Path:
        """Writes a kubeconfig that has the rights of a service account, which must exist, for an hour.

        With a pod, which must exist, too, its token is one that the kubelet would mount there.
        """
        spec: dict[str, Any] = {"expirationSeconds": 3600}
        if pod is not None:
            bound = {"name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", **bound}
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = self.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token", asked)
        suffix = f"-{pod['metadata']['name']}" if pod is not None else ""
        path = self._folder / f"kubeconfig-{namespace}-{service_account}{suffix}"
        path.write_text(json.dumps(self._with_token(answer["status"]["token"], namespace)))
        return path

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One call as administrator; returns the decoded answer and raises HTTPError for a status of 400 and up."""
        request = urllib.request.Request(
            self.url + path,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, context=self._as_admin(), timeout=30) as answer:
            decoded: dict[str, Any] = json.load(answer)
            return decoded

    def _kubectl(self, *arguments: str) -> None:
        command = [component("kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def _as_admin(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self._certificates / "ca.crt"))
        context.load_cert_chain(self._certificates / "admin.crt", self._certificates / "admin.key")
        return context

    def _with_token(self, token: str, namespace: str) -> dict[str, Any]:
        cluster = {"server": self.url, "certificate-authority": str(self._certificates / "ca.crt")}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
            "current-context": "test",
        }
