import re
from pathlib import Path

import pytest

from iris_local.paths import Paths, cache_root


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"IRIS_CACHE": "/cache", "XDG_CACHE_HOME": "/xdg", "HOME": "/home/ada"}, "/cache"),
        ({"XDG_CACHE_HOME": "/xdg", "HOME": "/home/ada"}, "/xdg/iris-release"),
        ({"HOME": "/home/ada"}, "/home/ada/.cache/iris-release"),
        ({"IRIS_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/home/ada"}, "/home/ada/.cache/iris-release"),
    ],
)
def test_the_cache_root_is_the_configured_one_or_in_the_users_cache_folder(
    environment: dict[str, str], expected: str
) -> None:
    assert cache_root(environment) == Path(expected)


def test_a_relative_cache_root_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert cache_root({"IRIS_CACHE": "here"}) == tmp_path / "here"


def test_everything_that_down_deletes_is_separate_from_the_cache() -> None:
    paths = Paths(Path("/root-of-cache"))
    kept = (paths.components, paths.programs, paths.buildah, paths.containerd, paths.build_scratch)
    assert not any(folder.is_relative_to(paths.cluster) for folder in kept)
    assert all(
        place.is_relative_to(paths.cluster)
        for place in (paths.kubeconfig, paths.logs, paths.pki, paths.containerd_socket, paths.containerd_state)
    )


def test_resources_outside_of_the_folders_are_named_by_the_root() -> None:
    marks = {Paths(Path(root)).cluster_id for root in ("/cache", "/cache2", "/home/ada/.cache/iris-release")}
    assert len(marks) == 3
    assert all(re.fullmatch(r"iris-local-[0-9a-f]{8}", mark) for mark in marks)
