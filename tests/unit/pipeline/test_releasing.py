from __future__ import annotations

import copy

import pytest

from iris_demo.kube import KubeClient, Object
from iris_demo.resources import Resource
from iris_demo.scenario import LOUD
from iris_pipeline.errors import PipelineError
from iris_pipeline.outcome import DesiredModel
from iris_pipeline.releasing import from_template, request_model, spec_patch

DESIRED = DesiredModel("2.0.0", "registry.example.com/iris-inference@sha256:abc")


class Server(KubeClient):
    """Holds one release, or none, and records the changes that it is asked for."""

    def __init__(self, existing: Object | None) -> None:
        super().__init__(None)
        self.existing, self.applied, self.merged = existing, list[Object](), list[Object]()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        assert (resource.plural, namespace, name) == ("irismodelreleases", "iris", "iris")
        return self.existing

    async def apply(self, resource: Resource, manifest: Object, manager: str = "") -> Object:
        assert (resource.plural, manager) == ("irismodelreleases", "iris-pipeline")
        self.applied.append(manifest)
        return manifest

    async def merge_patch(self, resource: Resource, namespace: str, name: str, change: Object) -> Object:
        assert (resource.plural, namespace, name) == ("irismodelreleases", "iris", "iris")
        self.merged.append(change)
        return change


async def test_only_the_model_of_an_existing_release_changes() -> None:
    server = Server(LOUD.manifest("1.0.0"))
    await request_model(server, "iris", "iris", DESIRED)
    assert server.merged == [{"spec": {"model": {"version": DESIRED.version, "image": DESIRED.image}}}]
    assert server.applied == []


async def test_a_missing_release_is_created_from_the_template() -> None:
    server, template = Server(None), LOUD.manifest("1.0.0")
    before = copy.deepcopy(template)
    await request_model(server, "iris", "iris", DESIRED, pull_secret="iris-registry", template=template)
    (made,) = server.applied
    assert made["spec"]["model"] == {"name": "iris", "version": DESIRED.version, "image": DESIRED.image}
    assert made["spec"]["serving"]["imagePullSecrets"] == [{"name": "iris-registry"}]
    assert made["spec"]["serving"]["envFrom"] == before["spec"]["serving"]["envFrom"]
    assert template == before


async def test_without_a_template_a_missing_release_is_an_error() -> None:
    with pytest.raises(PipelineError, match="no release iris/iris"):
        await request_model(Server(None), "iris", "iris", DESIRED)


def test_a_secret_to_pull_with_comes_beside_those_that_are_named() -> None:
    spec = {"serving": {"imagePullSecrets": [{"name": "mine"}]}}
    assert spec_patch(spec, DESIRED, "iris-registry")["serving"] == {
        "imagePullSecrets": [{"name": "mine"}, {"name": "iris-registry"}]
    }
    assert "serving" not in spec_patch(spec, DESIRED, "mine")
    assert "serving" not in spec_patch(spec, DESIRED)


def test_a_template_without_a_model_image_is_filled() -> None:
    made = from_template({"metadata": {}, "spec": {}}, "iris", "iris", DESIRED)
    assert made == {
        "metadata": {"namespace": "iris", "name": "iris"},
        "spec": {"model": {"version": DESIRED.version, "image": DESIRED.image}},
    }
