import base64
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from iris_local import containers, registry
from iris_local.errors import LocalClusterError
from iris_local.paths import LOCAL, Paths

MANIFEST = list(yaml.safe_load_all((LOCAL / "manifests/registry.yaml").read_text()))


class Cluster:
    """The Secrets of a cluster, as kubectl would keep them."""

    def __init__(self) -> None:
        self.secrets: dict[tuple[str, str], dict[str, Any]] = {}

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        if arguments[0] == "get":
            found = self.secrets.get((arguments[3].removeprefix("--namespace="), arguments[2]))
            return json.dumps(found) if found else ""
        secret = json.loads(stdin or "")
        self.secrets[secret["metadata"]["namespace"], secret["metadata"]["name"]] = secret
        assert not any(value in " ".join(arguments) for value in secret["data"].values())
        return ""


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path)
    paths.pki.mkdir(parents=True)
    for name in ("registry.crt", "registry.key", "registry-ca.crt"):
        (paths.pki / name).write_text(name)
    return paths


def test_containerd_is_configured_with_the_registrys_address_and_ca(paths: Paths) -> None:
    registry.configure_containerd(paths)
    folder = paths.registry_config / registry.ADDRESS
    hosts = tomllib.loads((folder / "hosts.toml").read_text())
    host = hosts["host"][f"https://{registry.ADDRESS}"]
    assert (folder / host["ca"]).read_text() == "registry-ca.crt"
    # It has no business to push.
    assert host["capabilities"] == ["pull", "resolve"]
    config = tomllib.loads(containers.configuration(paths, "localhost/pause:1", Path("/usr/sbin/runc")))
    assert config["plugins"]["io.containerd.grpc.v1.cri"]["registry"]["config_path"] == str(folder.parent)


def test_the_key_of_the_ca_is_not_copied(paths: Paths) -> None:
    registry.configure_containerd(paths)
    assert sorted(file.name for file in paths.registry_config.rglob("*") if file.is_file()) == ["ca.crt", "hosts.toml"]


def test_the_password_is_created_once_and_differs_between_clusters(paths: Paths) -> None:
    one, other = Cluster(), Cluster()
    for cluster in (one, one, other):
        registry.ensure_secrets(cluster, paths)
        first = registry.get_access(cluster, paths)
        registry.ensure_secrets(cluster, paths)
        assert registry.get_access(cluster, paths) == first
    assert registry.get_access(one, paths).password != registry.get_access(other, paths).password
    assert len(registry.get_access(one, paths).password) > 40


def test_a_cluster_without_a_registry_is_an_error_that_says_what_to_do(paths: Paths) -> None:
    with pytest.raises(LocalClusterError, match="make cluster-up"):
        registry.get_access(Cluster(), paths)


def test_a_namespace_gets_the_pull_secret_that_its_pods_refer_to(paths: Paths) -> None:
    cluster = Cluster()
    registry.ensure_secrets(cluster, paths)
    access = registry.get_access(cluster, paths)
    registry.grant_pull_access(cluster, access, "iris")
    secret = cluster.secrets["iris", registry.PULL_SECRET]
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    config = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
    assert base64.b64decode(config["auths"][registry.ADDRESS]["auth"]).decode() == f"iris:{access.password}"


def test_the_manifest_publishes_the_registry_at_its_address() -> None:
    (service,) = [item for item in MANIFEST if item["kind"] == "Service"]
    assert [port["nodePort"] for port in service["spec"]["ports"]] == [int(registry.ADDRESS.rpartition(":")[2])]


def test_the_pod_mounts_the_created_secrets(paths: Paths) -> None:
    cluster = Cluster()
    registry.ensure_secrets(cluster, paths)
    (deployment,) = [item for item in MANIFEST if item["kind"] == "Deployment"]
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    named = {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}
    assert named == {name for namespace, name in cluster.secrets if namespace == registry.NAMESPACE}


def test_the_registry_requires_credentials_and_has_immutable_tags() -> None:
    (settings,) = [yaml.safe_load(item["data"]["config.yml"]) for item in MANIFEST if item["kind"] == "ConfigMap"]
    assert settings["middleware"]["repository"] == [{"name": "immutabletags"}]
    assert settings["storage"]["delete"] == {"enabled": False}
    assert settings["auth"].keys() == {"htpasswd"}
    assert settings["http"]["tls"]["minimumtls"] == "tls1.2"
