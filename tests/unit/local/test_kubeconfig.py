import json
import stat
from pathlib import Path

import pytest

from iris_local import kubeconfig
from iris_local.errors import LocalClusterError


def test_a_kubeconfig_names_its_context_and_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "cluster" / "kubeconfig"
    kubeconfig.write(path, "https://10.213.255.1:16443", tmp_path / "pki", "admin")
    assert json.loads(path.read_text())["current-context"] == "iris-local"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kubeconfig.require_local(path)


def test_an_unchanged_kubeconfig_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    kubeconfig.write(path, "https://10.213.255.1:16443", tmp_path, "admin")
    before = path.stat().st_ino
    kubeconfig.write(path, "https://10.213.255.1:16443", tmp_path, "admin")
    assert path.stat().st_ino == before


@pytest.mark.parametrize("context", ["kind-kind", "arn:aws:eks:eu-west-1:1:cluster/prod", "", None])
def test_another_context_is_refused(tmp_path: Path, context: str | None) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps({"current-context": context}))
    with pytest.raises(LocalClusterError, match="is not used"):
        kubeconfig.require_local(path)


def test_a_file_that_is_not_ours_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("apiVersion: v1\ncurrent-context: iris-local\n")
    with pytest.raises(LocalClusterError, match="was not written by the local cluster"):
        kubeconfig.require_local(path)


def test_without_a_cluster_the_error_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(LocalClusterError, match="make cluster-up"):
        kubeconfig.require_local(tmp_path / "kubeconfig")
