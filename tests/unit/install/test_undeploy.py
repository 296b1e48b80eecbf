"""The operator goes, what serves stays, and no finalizer is left without an operator."""

import json
from typing import Any

import pytest

from iris_install import undeploy
from iris_install.errors import InstallError
from iris_install.rollout import CRD
from iris_operator.api import names

OTHERS = "example.com/theirs"


class Cluster:
    """A kubectl that remembers its commands, and has two releases."""

    def __init__(self, *, installed: bool = True) -> None:
        self.commands: list[str] = []
        self.installed = installed
        self.stuck = False
        self.finalizers = {"iris": [undeploy.FINALIZER, OTHERS], "plain": []}

    def run(self, *arguments: str) -> str:
        self.commands.append(" ".join(arguments))
        if arguments[:2] == ("get", CRD):
            return CRD if self.installed else ""
        if arguments[0] == "get":
            return json.dumps({"items": [self._release(name) for name in self.finalizers]})
        if arguments[0] == "patch":
            patch: dict[str, Any] = json.loads(arguments[-1].removeprefix("--patch="))
            assert patch["metadata"]["resourceVersion"] == "7"
            self.finalizers[arguments[2]] = patch["metadata"]["finalizers"]
        if self.stuck and arguments[:2] == ("delete", "irismodelreleases.iris.mlrelease.dev"):
            raise InstallError("timed out")
        return ""

    def _release(self, name: str) -> dict[str, Any]:
        metadata = {"name": name, "namespace": "iris", "resourceVersion": "7", "finalizers": self.finalizers[name]}
        return {"metadata": metadata}

    def position(self, start: str) -> int:
        (found,) = (number for number, command in enumerate(self.commands) if command.startswith(start))
        return found


def remove(cluster: Cluster, *, with_releases: bool = False) -> None:
    undeploy.remove(cluster, lambda _: None, 60, with_releases=with_releases)


def test_releases_and_their_definition_stay_without_the_finalizer() -> None:
    cluster = Cluster()
    remove(cluster)
    assert cluster.finalizers == {"iris": [OTHERS], "plain": []}
    deleted = [command for command in cluster.commands if command.startswith("delete")]
    assert [command.split()[1].partition("=")[0] for command in deleted] == ["deployment", "--kustomize"]


def test_the_finalizer_is_taken_off_after_the_operator_has_gone_and_before_its_rights() -> None:
    cluster = Cluster()
    remove(cluster)
    assert (
        cluster.position("delete deployment iris-operator")
        < cluster.position("patch")
        < cluster.position("delete --kustomize")
    )


def test_the_releases_go_first_when_they_are_to_go_while_the_operator_still_finalizes() -> None:
    cluster = Cluster()
    remove(cluster, with_releases=True)
    assert cluster.position("delete irismodelreleases") < cluster.position("delete deployment iris-operator")
    assert cluster.commands[-1].startswith(f"delete {CRD}")


def test_a_release_that_is_not_finalized_in_time_keeps_the_operator() -> None:
    cluster = Cluster()
    cluster.stuck = True
    with pytest.raises(InstallError, match="deploy/iris-operator"):
        remove(cluster, with_releases=True)
    assert not [command for command in cluster.commands if command.startswith("delete deployment")]


def test_an_installation_without_the_definition_is_removed_too() -> None:
    cluster = Cluster(installed=False)
    remove(cluster)
    assert not [command for command in cluster.commands if "irismodelreleases" in command and "get" not in command]


def test_the_finalizer_is_the_operators() -> None:
    assert undeploy.FINALIZER == names.FINALIZER
