"""The cluster's image registry: its address, its credentials, and the configuration of containerd and buildah for it.

It is reached through a node port, at the same address by the node, which pulls, and by this machine, which pushes.
"""

import base64
import json
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from iris_local.errors import LocalClusterError
from iris_local.paths import Paths

ADDRESS = "127.0.0.1:30500"
NAMESPACE = "registry"
CREDENTIALS = "registry-credentials"
# What a pod names in imagePullSecrets.
PULL_SECRET = "iris-registry"  # noqa: S105 - a name, not a secret
_CERTIFICATE = "registry-tls"
_USERNAME = "iris"
_PASSWORD_BYTES = 32
_CA_FILE = "ca.crt"


class Kubectl(Protocol):
    """The part of kubectl that is needed here."""

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs it and returns its output."""


@dataclass(frozen=True)
class RegistryAccess:
    """What is needed to push and pull. `ca_dir` is a folder with the CA certificate of the registry."""

    address: str
    username: str
    password: str
    ca_dir: Path | None = None

    def auth_file(self) -> str:
        """The text of a config.json for Docker, buildah and a Secret of type dockerconfigjson."""
        token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return json.dumps({"auths": {self.address: {"auth": token}}})


def configure_containerd(paths: Paths) -> None:
    """Configures the registry's address and CA for containerd, which reads these files at every pull."""
    folder = paths.registry_config / ADDRESS
    folder.mkdir(parents=True, exist_ok=True)
    # In the same folder as the file that names it, so that it is also a --cert-dir for buildah.
    shutil.copyfile(paths.pki / "registry-ca.crt", folder / _CA_FILE)
    (folder / "hosts.toml").write_text(
        f'server = "https://{ADDRESS}"\n\n[host."https://{ADDRESS}"]\n'
        f'  capabilities = ["pull", "resolve"]\n  ca = "{_CA_FILE}"\n'
    )


def ensure_secrets(kubectl: Kubectl, paths: Paths) -> None:
    """Creates the Secrets of the registry: its certificate, and a username and password unless they exist."""
    data = {
        "tls.crt": _base64((paths.pki / "registry.crt").read_bytes()),
        "tls.key": _base64((paths.pki / "registry.key").read_bytes()),
    }
    _apply(kubectl, NAMESPACE, _CERTIFICATE, "kubernetes.io/tls", data)
    if _credentials(kubectl) is None:
        password = secrets.token_urlsafe(_PASSWORD_BYTES)
        data = {"username": _base64(_USERNAME.encode()), "password": _base64(password.encode())}
        _apply(kubectl, NAMESPACE, CREDENTIALS, "kubernetes.io/basic-auth", data)


def get_access(kubectl: Kubectl, paths: Paths) -> RegistryAccess:
    """How to push to the registry and pull from it.

    Raises:
        LocalClusterError: the cluster was started without one.
    """
    data = _credentials(kubectl)
    if data is None:
        raise LocalClusterError("The local cluster has no registry yet: run `make cluster-up`.")
    username, password = (base64.b64decode(data[key]).decode() for key in ("username", "password"))
    return RegistryAccess(ADDRESS, username, password, paths.registry_config / ADDRESS)


def grant_pull_access(kubectl: Kubectl, access: RegistryAccess, namespace: str) -> None:
    """Creates the pull Secret with which the pods of a namespace can pull from the registry."""
    data = {".dockerconfigjson": _base64(access.auth_file().encode())}
    _apply(kubectl, namespace, PULL_SECRET, "kubernetes.io/dockerconfigjson", data)


def _credentials(kubectl: Kubectl) -> dict[str, str] | None:
    printed = kubectl.run(
        "get", "secret", CREDENTIALS, f"--namespace={NAMESPACE}", "--ignore-not-found", "--output=json"
    )
    found: dict[str, Any] = json.loads(printed) if printed.strip() else {}
    return found.get("data")


def _apply(kubectl: Kubectl, namespace: str, name: str, kind: str, data: dict[str, str]) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": kind,
        "data": data,
    }
    # On standard input: every process of the machine can read an argument.
    kubectl.run(
        "apply", "--server-side", "--force-conflicts", "--field-manager=iris-local", "-f", "-", stdin=json.dumps(secret)
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
