"""The certificate of the local cluster's Ingresses. Elsewhere cert-manager or a person creates the Secret."""

import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iris_install.credentials import NAMESPACE
from iris_install.errors import InstallError

# What `traffic.ingress.tlsSecretName` names in the releases of the demo.
SECRET = "iris-tls"  # noqa: S105 - its name


def manifest(pki: Path) -> dict[str, Any]:
    """The Secret with the certificate signed by the local cluster's CA; raises InstallError when it is missing."""
    try:
        files = {"tls.crt": (pki / "ingress.crt").read_bytes(), "tls.key": (pki / "ingress.key").read_bytes()}
    except FileNotFoundError as error:
        raise InstallError(f"{error.filename} is missing: run `make cluster-up`, which creates it.") from error
    return _secret({key: b64encode(value).decode() for key, value in files.items()})


def _secret(data: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/part-of": "iris-release"}},
        "type": "kubernetes.io/tls",
        "data": dict(data),
    }


def as_json(pki: Path) -> str:
    """The Secret for kubectl's standard input: a private key must not be an argument, which others could read."""
    return json.dumps(manifest(pki))
