from __future__ import annotations

import copy

import pytest

from iris_demo.kube import Kube, Object, Resource
from iris_demo.scenario import LOUD
from iris_pipeline.errors import PipelineError
from iris_pipeline.outcome import Wanted
from iris_pipeline.releasing import ask_for, change, filled

WANTED = Wanted("2.0.0", "registry.example.com/iris-inference@sha256:abc")


class Server(Kube):
    """Holds one release, or none, and notes what it is asked to change."""

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

    async def merge(self, resource: Resource, namespace: str, name: str, change: Object) -> Object:
        assert (resource.plural, namespace, name) == ("irismodelreleases", "iris", "iris")
        self.merged.append(change)
        return change


async def test_of_a_release_that_is_there_only_the_model_changes() -> None:
    server = Server(LOUD.manifest("1.0.0"))
    await ask_for(server, "iris", "iris", WANTED)
    assert server.merged == [{"spec": {"model": {"version": WANTED.version, "image": WANTED.image}}}]
    assert server.applied == []


async def test_a_release_that_is_missing_is_made_from_the_template() -> None:
    server, template = Server(None), LOUD.manifest("1.0.0")
    before = copy.deepcopy(template)
    await ask_for(server, "iris", "iris", WANTED, pull_secret="iris-registry", template=template)
    (made,) = server.applied
    assert made["spec"]["model"] == {"name": "iris", "version": WANTED.version, "image": WANTED.image}
    assert made["spec"]["serving"]["imagePullSecrets"] == [{"name": "iris-registry"}]
    assert made["spec"]["serving"]["envFrom"] == before["spec"]["serving"]["envFrom"]
    assert template == before


async def test_without_a_template_a_missing_release_is_an_error() -> None:
    with pytest.raises(PipelineError, match="no release iris/iris"):
        await ask_for(Server(None), "iris", "iris", WANTED)


def test_a_secret_to_pull_with_comes_beside_those_that_are_named() -> None:
    spec = {"serving": {"imagePullSecrets": [{"name": "mine"}]}}
    assert change(spec, WANTED, "iris-registry")["serving"] == {
        "imagePullSecrets": [{"name": "mine"}, {"name": "iris-registry"}]
    }
    assert "serving" not in change(spec, WANTED, "mine")
    assert "serving" not in change(spec, WANTED)


def test_a_template_without_a_model_image_is_filled() -> None:
    made = filled({"metadata": {}, "spec": {}}, "iris", "iris", WANTED)
    assert made == {
        "metadata": {"namespace": "iris", "name": "iris"},
        "spec": {"model": {"version": WANTED.version, "image": WANTED.image}},
    }
