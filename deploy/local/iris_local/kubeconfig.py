"""Kubeconfig files. They are written as JSON, which is YAML."""

import json
import os
from pathlib import Path

from iris_local.errors import LocalClusterError

CONTEXT = "iris-local"


def write(path: Path, server: str, pki: Path, identity: str) -> None:
    """Writes a kubeconfig, readable by its owner only, that refers to the certificate files of one identity."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": CONTEXT, "cluster": {"server": server, "certificate-authority": str(pki / "ca.crt")}},
        ],
        "users": [
            {
                "name": identity,
                "user": {
                    "client-certificate": str(pki / f"{identity}.crt"),
                    "client-key": str(pki / f"{identity}.key"),
                },
            }
        ],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": identity}}],
        "current-context": CONTEXT,
    }
    text = json.dumps(content, indent=2) + "\n"
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".draft")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as sink:
        sink.write(text)
    temporary.rename(path)


def require_local(path: Path) -> None:
    """Rejects a kubeconfig that is not for the local cluster.

    Raises:
        LocalClusterError: the file is missing, unreadable, or its current context has another name.
    """
    try:
        context = json.loads(path.read_text()).get("current-context")
    except FileNotFoundError:
        raise LocalClusterError("The local cluster is not up: run `make cluster-up`.") from None
    except ValueError:
        raise LocalClusterError(f"{path} was not written by the local cluster; it is not used.") from None
    if context != CONTEXT:
        raise LocalClusterError(f"{path} is for {context!r}, not for {CONTEXT!r}; it is not used.")
