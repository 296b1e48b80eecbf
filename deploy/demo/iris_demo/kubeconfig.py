"""The local cluster's kubeconfig, and the refusal of any other context."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

LOCAL_CONTEXT = "iris-local"


class ForeignContextError(Exception):
    """The kubeconfig points at a cluster that is not the local one."""


def local_kubeconfig() -> Path:
    """Where the local cluster writes its kubeconfig.

    ``$KUBECONFIG`` is ignored on purpose: it may name a cluster that somebody works with.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = os.environ.get("IRIS_CACHE") or Path(cache) / "iris-release"
    return Path(root) / "cluster" / "kubeconfig"


def local_ca_certificate() -> Path:
    """The CA certificate that signed the certificate of the local cluster's Ingress controller."""
    return local_kubeconfig().parent / "pki" / "ingress-ca.crt"


def require_local_context(kubeconfig: Path) -> None:
    """Raise ForeignContextError unless the file's current context is the local cluster's."""
    if not kubeconfig.is_file():
        raise ForeignContextError(f"no kubeconfig at {kubeconfig}: run `make cluster-up` first")
    context = yaml.safe_load(kubeconfig.read_text(encoding="utf-8")).get("current-context")
    if context != LOCAL_CONTEXT:
        raise ForeignContextError(f"the current context of {kubeconfig} is {context!r}, not {LOCAL_CONTEXT!r}")
