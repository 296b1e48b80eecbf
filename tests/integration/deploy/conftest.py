from collections.abc import Iterator

import pytest

from support.servers.kubernetes import KubeApiserver


@pytest.fixture(scope="module")
def kube_apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApiserver]:
    # One for each file: an installation is tried on a cluster in which nobody has installed anything, and what it
    # leaves there belongs to it, which others could not apply again as somebody else.
    server = KubeApiserver(tmp_path_factory.mktemp("kubernetes"))
    try:
        server.start()
        yield server
    finally:
        server.stop()
