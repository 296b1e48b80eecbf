from pathlib import Path

import pytest
import yaml

from iris_install import overlay
from iris_install.errors import InstallError
from iris_install.kubectl import Kubectl
from iris_local.paths import Paths
from support.deploy.manifests import find_manifest


@pytest.mark.parametrize(
    ("context", "requested", "chosen"),
    [
        ("iris-local", None, "local"),
        ("arn:aws:eks:cluster", None, "production"),
        ("kind-iris", "local", "local"),
        ("iris-local", "production", "production"),
    ],
)
def test_the_overlay_follows_the_context_unless_one_is_given(context: str, requested: str | None, chosen: str) -> None:
    assert overlay.choose(context, requested) == chosen


def test_an_unknown_overlay_is_rejected_with_the_existing_ones() -> None:
    with pytest.raises(InstallError, match="no overlay staging; there are: local, production"):
        overlay.choose("iris-local", "staging")


def test_logs_are_read_where_the_local_cluster_stores_them(
    kubectl: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRIS_CACHE", str(tmp_path))
    objects = list(yaml.safe_load_all(overlay.render(kubectl, "local", "localhost/iris-operator:1")))
    volumes = find_manifest(objects, "DaemonSet", "otelcol")["spec"]["template"]["spec"]["volumes"]
    paths = {volume["name"]: volume["hostPath"]["path"] for volume in volumes if "hostPath" in volume}
    assert paths == {"pod-logs": str(Paths(tmp_path).pod_logs), "state": str(Paths(tmp_path).log_shipper_state)}


@pytest.mark.parametrize("image", ["iris-operator", "registry.example.com:5000/iris-operator", "iris operator:1", ""])
def test_an_image_without_a_tag_is_refused(kubectl: Kubectl, image: str) -> None:
    with pytest.raises(InstallError, match="needs a tag or a digest"):
        overlay.render(kubectl, "production", image)


def test_the_tag_latest_is_refused(kubectl: Kubectl) -> None:
    with pytest.raises(InstallError, match="must not be tagged `latest`"):
        overlay.render(kubectl, "production", "registry.example.com/iris-operator:latest")


@pytest.mark.parametrize(
    "image",
    [
        "registry.example.com:5000/team/iris-operator:1.2.3",
        "localhost/iris-operator:5f3a9c",
        "registry.example.com/iris-operator@sha256:" + "0" * 64,
    ],
)
@pytest.mark.parametrize("name", ["local", "production"])
def test_the_operator_runs_the_image_that_was_given(kubectl: Kubectl, name: str, image: str) -> None:
    assert f"image: {image}\n" in overlay.render(kubectl, name, image)
