import pytest

from iris_install.errors import InstallError
from iris_install.kubectl import Kubectl, find_kubectl
from support.servers.tools import component


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """An existing kubectl; it only renders and contacts no cluster."""
    try:
        return Kubectl(find_kubectl())
    except InstallError:
        return Kubectl(component("kubectl"))
