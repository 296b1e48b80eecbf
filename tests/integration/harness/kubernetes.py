"""A real kube-apiserver with a real etcd, and nothing behind them: no controller and no node.

What a test does not do to an object nobody does, so the states of the world are exactly those that the test makes:
a Deployment gets no pods unless the test creates them, and a deleted namespace stays Terminating (so use a new one).
"""

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from integration.harness.process import ServerProcess, accepts, free_port
from integration.harness.tools import component, debian

_ADMIN_TOKEN = "integration-admin"


class KubeApiserver:
    """Both processes, an administrator's kubeconfig, and kubeconfigs for service accounts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._etcd_port, peer_port, self._port = free_port(), free_port(), free_port()
        self.url = f"https://127.0.0.1:{self._port}"
        self.kubeconfig = folder / "kubeconfig"
        etcd_url, peer_url = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{peer_port}"
        self.etcd = ServerProcess(
            [
                debian("etcd"), "--data-dir", str(folder / "etcd"), "--unsafe-no-fsync",
                "--listen-client-urls", etcd_url, "--advertise-client-urls", etcd_url,
                "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
                "--initial-cluster", f"default={peer_url}",
            ],
            folder / "etcd.log",
            ready=lambda: accepts(self._etcd_port),
        )  # fmt: skip
        self.server = ServerProcess(
            [
                component("kube-apiserver"),
                f"--etcd-servers={etcd_url}",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                f"--secure-port={self._port}",
                f"--cert-dir={folder / 'certificates'}",
                f"--token-auth-file={self._tokens()}",
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.0.0.0/24",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={self._signing_key()}",
                f"--service-account-signing-key-file={self._signing_key()}",
                # Without a controller there is no default service account for a pod to have.
                "--disable-admission-plugins=ServiceAccount",
                # The Service named kubernetes cannot point at loopback, and nothing here asks for it.
                "--endpoint-reconciler-type=none",
            ],
            folder / "kube-apiserver.log",
            ready=self._ready,
            ready_seconds=120,
        )

    def start(self) -> None:
        """Returns when the API answers and the administrator's kubeconfig is written."""
        self.etcd.start()
        self.server.start()
        self.kubeconfig.write_text(json.dumps(self._kubeconfig(_ADMIN_TOKEN)))

    def stop(self) -> None:
        """Ends both processes."""
        self.server.stop()
        self.etcd.stop()

    def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """Writes a kubeconfig that has the rights of a service account, which must exist, for an hour."""
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        answer = self.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token", asked)
        path = self._folder / f"kubeconfig-{namespace}-{service_account}"
        path.write_text(json.dumps(self._kubeconfig(answer["status"]["token"], namespace)))
        return path

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One call as administrator; returns the decoded answer and raises HTTPError for a status of 400 and up."""
        request = urllib.request.Request(
            self.url + path,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"Bearer {_ADMIN_TOKEN}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, context=self._trust(), timeout=30) as answer:
            decoded: dict[str, Any] = json.load(answer)
            return decoded

    def _ready(self) -> bool:
        if not (self._certificate().exists() and accepts(self._port)):
            return False
        request = urllib.request.Request(self.url + "/readyz", headers={"Authorization": f"Bearer {_ADMIN_TOKEN}"})
        try:
            with urllib.request.urlopen(request, context=self._trust(), timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    def _kubeconfig(self, token: str, namespace: str = "default") -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "test", "cluster": {"server": self.url, "certificate-authority": str(self._certificate())}}
            ],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
            "current-context": "test",
        }

    def _certificate(self) -> Path:
        # The server signs one for itself and writes the signer into the same file.
        return self._folder / "certificates" / "apiserver.crt"

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self._certificate()))

    def _tokens(self) -> Path:
        path = self._folder / "tokens.csv"
        path.write_text(f'{_ADMIN_TOKEN},admin,admin,"system:masters"\n')
        return path

    def _signing_key(self) -> Path:
        path = self._folder / "service-accounts.key"
        if not path.exists():
            subprocess.run([debian("openssl"), "genrsa", "-out", str(path), "2048"], check=True, capture_output=True)
        return path
