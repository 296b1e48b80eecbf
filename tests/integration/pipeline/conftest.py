from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from iris_local import pki
from iris_local.paths import LOCAL
from iris_local.registry import RegistryAccess
from support.servers.process import ServerProcess, accepts, free_port
from support.servers.tools import component

USERNAME, PASSWORD = "iris", "a-password-of-this-test"


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryAccess]:
    """A registry as the local cluster runs it."""
    folder = tmp_path_factory.mktemp("registry")
    # The folders are made as the mounts of the pod are.
    keys, trust, secret = folder / "pki", folder / "trust", folder / "credentials"
    pki.ensure(keys, [one for one in pki.identities([], "node", "10.0.0.1") if one.name == "registry"])
    for place in (trust, secret):
        place.mkdir()
    (trust / "ca.crt").write_bytes((keys / "registry-ca.crt").read_bytes())
    (secret / "username").write_text(USERNAME)
    (secret / "password").write_text(PASSWORD)
    port = free_port()
    server = ServerProcess(
        [component("registry"), "serve", str(configuration(folder, keys, port))],
        folder / "log",
        ready=lambda: accepts(port),
        environment={
            "IRIS_REGISTRY_CREDENTIALS": str(secret),
            "REGISTRY_AUTH_HTPASSWD_PATH": str(folder / "htpasswd"),
            "OTEL_TRACES_EXPORTER": "none",
        },
    )
    server.start()
    yield RegistryAccess(f"127.0.0.1:{port}", USERNAME, PASSWORD, trust)
    server.stop()


def configuration(folder: Path, keys: Path, port: int) -> Path:
    """The settings of the manifest, with the places of this test."""
    objects = list(yaml.safe_load_all((LOCAL / "manifests/registry.yaml").read_text()))
    (text,) = [item["data"]["config.yml"] for item in objects if item["kind"] == "ConfigMap"]
    settings = yaml.safe_load(text)
    settings["storage"]["filesystem"]["rootdirectory"] = str(folder / "data")
    settings["auth"]["htpasswd"]["path"] = str(folder / "htpasswd")
    settings["http"]["addr"] = f"127.0.0.1:{port}"
    settings["http"]["tls"] |= {"certificate": str(keys / "registry.crt"), "key": str(keys / "registry.key")}
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(settings))
    return path
