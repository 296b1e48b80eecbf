"""Finds the programs that the tests start. A missing one fails the test: a skipped test proves nothing."""

import os
import shutil

import pytest

from iris_local import components
from iris_local.paths import Paths, cache_root

_COMPONENTS = {
    "kube-apiserver": "kubernetes",
    "kubectl": "kubernetes",
    "kube-controller-manager": "kubernetes",
    "prometheus": "prometheus",
    "kubeconform": "kubeconform",
    "traefik": "traefik",
    "promtool": "promtool",
    "alertmanager": "alertmanager",
    "otelcol": "otelcol",
    "victorialogs": "victorialogs",
    "registry": "registry",
    "actionlint": "actionlint",
    "health": "health",
}
_DEBIAN_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/usr/lib/postgresql/15/bin")


def debian(program: str) -> str:
    """The path of a program that comes from one of the packages in tests/packages.txt."""
    found = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), *_DEBIAN_FOLDERS]))
    if found is None:
        pytest.fail(f"{program} is not installed. Run: make packages", pytrace=False)
    return found


def component(program: str) -> str:
    """The path of a program that the local cluster's build makes, built from the sources as they are now."""
    component = components.get(_COMPONENTS[program])
    path = components.location(component, Paths(cache_root())) / program
    if not path.exists():
        build = f"PYTHONPATH=deploy/local python3 -m iris_local build {component.name}"
        pytest.fail(f"{program} is not built from the present sources. Run: {build}", pytrace=False)
    return str(path)
