import pytest
import yaml

from iris_install import overlay
from iris_install.kubectl import Kubectl
from support.deploy.fixtures import kubectl
from support.deploy.manifests import Manifest

__all__ = ["kubectl", "rendered"]


@pytest.fixture(scope="session", params=["local", "production"])
def rendered(kubectl: Kubectl, request: pytest.FixtureRequest) -> list[Manifest]:
    """Every object of an overlay, as `make deploy` would apply it."""
    text = overlay.render(kubectl, request.param, "registry.example.com/iris-operator:1.2.3")
    return [document for document in yaml.safe_load_all(text) if document]
