"""The only access to the cluster: kubectl, always with an explicit context."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from iris_install.errors import InstallError
from iris_local.paths import Paths, cache_root

LOCAL_CONTEXT = "iris-local"


class Kubectl:
    """kubectl bound to one context: a context switched in another terminal cannot redirect a running installation."""

    def __init__(self, binary: str, context: str | None = None, environment: Mapping[str, str] | None = None) -> None:
        self.context = context
        self._command = [binary, *([f"--context={context}"] if context else [])]
        self._environment = environment

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs it and returns its output; raises InstallError with its error output."""
        done = subprocess.run(
            [*self._command, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=self._environment,
            check=False,
        )
        if done.returncode:
            raise InstallError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def run_visibly(self, *arguments: str, stdin: str | None = None) -> bool:
        """Runs it with its output on the terminal; True on success."""
        done = subprocess.run([*self._command, *arguments], input=stdin, text=True, env=self._environment, check=False)
        return done.returncode == 0

    def get_or_none(self, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        """One object, or None when it does not exist."""
        printed = self.run("get", kind, name, f"--namespace={namespace}", "--ignore-not-found", "--output=json")
        return json.loads(printed) if printed.strip() else None

    def create(self, manifest: Mapping[str, Any]) -> None:
        """Creates an object and fails when it exists. The manifest is passed on standard input, not as an argument."""
        self.run("create", "--filename=-", stdin=json.dumps(manifest))


def find_kubectl(environment: Mapping[str, str] = os.environ) -> str:
    """$KUBECTL, else the one on PATH, else the one built with the local cluster."""
    found = (
        environment.get("KUBECTL")
        or shutil.which("kubectl", path=environment.get("PATH"))
        or _locally_built(environment)
    )
    if found:
        return found
    raise InstallError(
        "kubectl is missing: install it, name it in $KUBECTL, or run `make cluster-up`, which builds one."
    )


def connect(environment: Mapping[str, str] = os.environ) -> Kubectl:
    """kubectl bound to the current context; raises InstallError when there is none or its server does not respond."""
    binary = find_kubectl(environment)
    try:
        context = Kubectl(binary, environment=environment).run("config", "current-context").strip()
    except InstallError:
        context = ""
    if not context:
        raise InstallError(f"There is no current kube-context to install into. {_hint(environment)}")
    if context == LOCAL_CONTEXT:
        # The one on PATH may be much older than the local cluster; this one is from the same build.
        binary = environment.get("KUBECTL") or _locally_built(environment) or binary
    kubectl = Kubectl(binary, context, environment)
    try:
        kubectl.run("version", "--request-timeout=10s", "--output=json")
    except InstallError as error:
        raise InstallError(f"The cluster of context {context} does not respond. {error}") from error
    return kubectl


def _locally_built(environment: Mapping[str, str]) -> str | None:
    path = Paths(cache_root(environment)).programs / "kubectl"
    return str(path) if path.exists() else None


def _hint(environment: Mapping[str, str]) -> str:
    local = Paths(cache_root(environment)).kubeconfig
    if local.exists():
        return f"For the local cluster: export KUBECONFIG={local}"
    return "Point KUBECONFIG at your cluster, or run `make cluster-up` for one on this machine."
