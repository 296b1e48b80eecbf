from collections.abc import Iterator

import pytest

from integration.harness.kubernetes import KubeApiserver


@pytest.fixture(scope="session")
def kube_apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApiserver]:
    # One of its own: an installation is tried on a cluster in which nobody has installed anything.
    server = KubeApiserver(tmp_path_factory.mktemp("kubernetes"))
    try:
        server.start()
        yield server
    finally:
        server.stop()
