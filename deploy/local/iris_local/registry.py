"""The cluster's image registry: where it answers, who may use it, and how containerd and buildah come to trust it.

It is reached through a node port, under the same name by the node, which pulls, and by this machine, which pushes.
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
_AUTHORITY = "ca.crt"


class Kubectl(Protocol):
    """The part of kubectl that is needed here."""

    def text(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs it and returns what it printed."""


@dataclass(frozen=True)
class Access:
    """What it takes to push and pull. `authority` is a folder with the certificate that signed the registry's."""

    address: str
    username: str
    password: str
    authority: Path | None = None

    def auth_file(self) -> str:
        """The text of a config.json as Docker, buildah and a Secret of type dockerconfigjson have it."""
        token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return json.dumps({"auths": {self.address: {"auth": token}}})


def introduce(paths: Paths) -> None:
    """Tells containerd where the registry is and whom its certificate is from. containerd reads this at every pull."""
    folder = paths.registries / ADDRESS
    folder.mkdir(parents=True, exist_ok=True)
    # Beside the file that names it, so that the folder is also what buildah takes for --cert-dir.
    shutil.copyfile(paths.pki / "registry-ca.crt", folder / _AUTHORITY)
    (folder / "hosts.toml").write_text(
        f'server = "https://{ADDRESS}"\n\n[host."https://{ADDRESS}"]\n'
        f'  capabilities = ["pull", "resolve"]\n  ca = "{_AUTHORITY}"\n'
    )


def equip(kubectl: Kubectl, paths: Paths) -> None:
    """Gives the registry its certificate, and a name and a password unless it has them."""
    data = {
        "tls.crt": _encoded((paths.pki / "registry.crt").read_bytes()),
        "tls.key": _encoded((paths.pki / "registry.key").read_bytes()),
    }
    _apply(kubectl, NAMESPACE, _CERTIFICATE, "kubernetes.io/tls", data)
    if _credentials(kubectl) is None:
        password = secrets.token_urlsafe(_PASSWORD_BYTES)
        data = {"username": _encoded(_USERNAME.encode()), "password": _encoded(password.encode())}
        _apply(kubectl, NAMESPACE, CREDENTIALS, "kubernetes.io/basic-auth", data)


def access(kubectl: Kubectl, paths: Paths) -> Access:
    """How to push to the registry and pull from it.

    Raises:
        LocalClusterError: the cluster was started without one.
    """
    data = _credentials(kubectl)
    if data is None:
        raise LocalClusterError("The local cluster has no registry yet: run `make cluster-up`.")
    username, password = (base64.b64decode(data[key]).decode() for key in ("username", "password"))
    return Access(ADDRESS, username, password, paths.registries / ADDRESS)


def offer(kubectl: Kubectl, granted: Access, namespace: str) -> None:
    """Lets the pods of a namespace pull from the registry: they name the Secret that this makes."""
    data = {".dockerconfigjson": _encoded(granted.auth_file().encode())}
    _apply(kubectl, namespace, PULL_SECRET, "kubernetes.io/dockerconfigjson", data)


def _credentials(kubectl: Kubectl) -> dict[str, str] | None:
    printed = kubectl.text(
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
    # By standard input: an argument can be read by every process of the machine.
    kubectl.text(
        "apply", "--server-side", "--force-conflicts", "--field-manager=iris-local", "-f", "-", stdin=json.dumps(secret)
    )


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
