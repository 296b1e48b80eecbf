"""Takes the operator out of a cluster. What serves keeps serving, unless the releases are to go, too.

The order keeps finalizers from stranding: while the operator runs it finalizes what is deleted; when it no longer runs,
its finalizer is taken off the releases that stay, so that they can be deleted without it. Only then do its rights go.
The CRD stays with the releases: without it they would be deleted, and all that belongs to them.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from iris_install.errors import InstallError
from iris_install.overlay import ROOT
from iris_install.rollout import CRD

FINALIZER = "iris.mlrelease.dev/release"
_RELEASES = "irismodelreleases.iris.mlrelease.dev"
_OPERATOR = ROOT / "deploy" / "base" / "operator"


class KubectlRunner(Protocol):
    """The part of kubectl that is needed here."""

    def run(self, *arguments: str) -> str:
        """Runs kubectl and returns its output; raises InstallError."""


def remove(cluster: KubectlRunner, report: Callable[[str], None], seconds: int, *, with_releases: bool) -> None:
    """Removes the operator and its rights; `with_releases` also all releases, what serves them, and the CRD.

    Safe to repeat. `seconds` is how long each deletion may take.

    Raises:
        InstallError: something is not gone in time. Nothing that it needs in order to go has been removed then.
    """
    timeout = f"--timeout={seconds}s"
    installed = bool(cluster.run("get", CRD, "--ignore-not-found", "--output=name").strip())
    if installed and with_releases:
        _delete_releases(cluster, timeout)
        report("All releases are deleted, and with them what served them.")
    # In the foreground: no pod of it may add the finalizer again.
    cluster.run(
        *("delete", "deployment", "iris-operator", "--namespace=iris-system", "--ignore-not-found"),
        *("--cascade=foreground", timeout),
    )
    if installed:
        for release in _releases(cluster):
            if _take_off_finalizer(cluster, release):
                report(f"Release {_name(release)} stays as it is; it can be deleted without the operator.")
    cluster.run("delete", f"--kustomize={_OPERATOR}", "--ignore-not-found", timeout)
    if installed and with_releases:
        cluster.run("delete", CRD, "--ignore-not-found", timeout)
    report("The operator and its rights are removed.")


def _delete_releases(cluster: KubectlRunner, timeout: str) -> None:
    try:
        cluster.run("delete", _RELEASES, "--all", "--all-namespaces", timeout)
    except InstallError as error:
        raise InstallError(
            f"{error}\nThe operator finalizes releases, and must run for it: see `kubectl -n iris-system logs "
            "deploy/iris-operator`. Without it, run `make undeploy` first, which takes its finalizer off."
        ) from error


def _releases(cluster: KubectlRunner) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = json.loads(cluster.run("get", _RELEASES, "--all-namespaces", "--output=json"))[
        "items"
    ]
    return found


def _take_off_finalizer(cluster: KubectlRunner, release: Mapping[str, Any]) -> bool:
    metadata = release["metadata"]
    finalizers = metadata.get("finalizers", [])
    if FINALIZER not in finalizers:
        return False
    kept = [each for each in finalizers if each != FINALIZER]
    # The version makes it a conflict when somebody else has changed the list since.
    patch = {"metadata": {"finalizers": kept, "resourceVersion": metadata["resourceVersion"]}}
    cluster.run(
        *("patch", _RELEASES, metadata["name"], f"--namespace={metadata['namespace']}", "--type=merge"),
        f"--patch={json.dumps(patch)}",
    )
    return True


def _name(release: Mapping[str, Any]) -> str:
    return f"{release['metadata']['namespace']}/{release['metadata']['name']}"
