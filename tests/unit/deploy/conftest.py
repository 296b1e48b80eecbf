import pytest
import yaml

from integration.harness.tools import component
from iris_install import overlay
from iris_install.errors import InstallError
from iris_install.kubectl import Kubectl, find_kubectl
from unit.deploy.manifests import Manifest


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """One that is there; it renders, and asks no cluster anything."""
    try:
        return Kubectl(find_kubectl())
    except InstallError:
        return Kubectl(component("kubectl"))


@pytest.fixture(scope="session", params=["local", "production"])
def rendered(kubectl: Kubectl, request: pytest.FixtureRequest) -> list[Manifest]:
    """Every object of an overlay, as `make deploy` would apply it."""
    text = overlay.render(kubectl, request.param, "registry.example.com/iris-operator:1.2.3")
    return [document for document in yaml.safe_load_all(text) if document]
